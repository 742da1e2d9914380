#!/bin/sh
# First process of fresh namespaces (isolation.ts starts it there). Builds a root that holds only the named paths, read
# only, and becomes the command inside it without any privilege: no network, no /proc, /dev, /etc, /tmp or data.
# usage: isolate.sh [SOURCE DESTINATION]... -- COMMAND [ARGUMENT]...
set -eu
root=/sys # any directory will do that exists on every Linux and holds no source: only this namespace sees it covered
mount -t tmpfs -o mode=755,size=1m,nosuid,nodev none "$root"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${2%/*}" && : >"$root$2"; fi
  mount --bind -o ro,nosuid,nodev "$1" "$root$2"
  shift 2
done
shift
mount -o remount,bind,ro,nosuid,nodev "$root"
chroot=$(command -v chroot)
cd "$root"
unset PATH PWD OLDPWD
# With an empty bounding set and `noroot`, no later exec regains a capability, so chroot cannot be left; and the kernel
# creates no user namespace for a process in a chroot (user_namespaces(7)).
exec "$chroot" "$root" /setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all \
  --securebits=+noroot,+noroot_locked "$@"
