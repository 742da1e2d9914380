// Verifies a C2SP tlog-tiles directory with golang.org/x/mod/sumdb/{note,tlog}, an implementation of the Go project.
// Arguments: DIR VKEY [OLD_CHECKPOINT_FILE...]. Prints one JSON object {name, ok, detail} for each check.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8 // tlog-tiles: fixed; Go's own paths carry it as their first component

type tileReader struct {
	dir   string
	tiles map[tlog.Tile][]byte
	reads int
}

func (r *tileReader) Height() int                         { return tileHeight }
func (r *tileReader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, known := r.tiles[t]
		if !known {
			var err error
			path := strings.Replace(t.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
			if data, err = os.ReadFile(filepath.Join(r.dir, path)); err != nil {
				return nil, err
			}
			r.tiles[t] = data
			r.reads++
		}
		out[i] = data
	}
	return out, nil
}

// tree is the body of a verified checkpoint.
type tree struct {
	size int64
	hash tlog.Hash
}

func openCheckpoint(path, vkey string) (tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tree{}, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree{}, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	var t tree
	if len(lines) < 3 || lines[0] != verifier.Name() {
		return tree{}, fmt.Errorf("origin is not the key's name")
	}
	if _, err := fmt.Sscanf(lines[1], "%d", &t.size); err != nil {
		return tree{}, err
	}
	t.hash, err = tlog.ParseHash(lines[2])
	return t, err
}

func readEntries(dir string, size int64) ([][]byte, error) {
	var entries [][]byte
	for n := int64(0); n*256 < size; n++ {
		width := min(256, size-n*256)
		// Level -1 is Go's data; it writes "data" where tlog-tiles writes "entries".
		path := tlog.Tile{H: tileHeight, L: -1, N: n, W: int(width)}.Path()
		path = strings.Replace(path, fmt.Sprintf("tile/%d/data/", tileHeight), "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("%d entries, not %d", len(entries), size)
	}
	return entries, nil
}

func report(name string, err error, detail string) {
	if err != nil {
		detail = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"name": name, "ok": err == nil, "detail": detail})
}

func main() {
	dir, vkey := os.Args[1], os.Args[2]
	head, err := openCheckpoint(filepath.Join(dir, "checkpoint"), vkey)
	report("checkpoint signature", err, fmt.Sprintf("size %d", head.size))
	if err != nil {
		return
	}
	reader := &tileReader{dir: dir, tiles: map[tlog.Tile][]byte{}}
	hashes := tlog.TileHashReader(tlog.Tree{N: head.size, Hash: head.hash}, reader)

	entries, err := readEntries(dir, head.size)
	report("entry bundles", err, fmt.Sprintf("%d entries", len(entries)))
	if err != nil {
		return
	}

	for i, entry := range entries {
		var proof tlog.RecordProof
		if proof, err = tlog.ProveRecord(head.size, int64(i), hashes); err == nil {
			err = tlog.CheckRecord(proof, head.size, head.hash, int64(i), tlog.RecordHash(entry))
		}
		if err != nil {
			err = fmt.Errorf("entry %d: %w", i, err)
			break
		}
	}
	report("inclusion proofs through tiles", err, fmt.Sprintf("%d proofs, %d tile reads", len(entries), reader.reads))

	for _, path := range os.Args[3:] {
		old, err := openCheckpoint(path, vkey)
		if err == nil {
			var proof tlog.TreeProof
			if proof, err = tlog.ProveTree(head.size, old.size, hashes); err == nil {
				err = tlog.CheckTree(proof, head.size, head.hash, old.size, old.hash)
			}
		}
		report(fmt.Sprintf("consistency from %d", old.size), err, fmt.Sprintf("%d to %d", old.size, head.size))
	}

	refused := func(name string, err error) {
		if err == nil {
			report(name, fmt.Errorf("was accepted"), "")
		} else {
			report(name, nil, err.Error())
		}
	}
	last := head.size - 1
	proof, err := tlog.ProveRecord(head.size, last, hashes)
	if err != nil {
		report("tampered entry is refused", err, "")
		return
	}
	changed := append([]byte{}, entries[last]...)
	changed[0] ^= 1
	refused("tampered entry is refused", tlog.CheckRecord(proof, head.size, head.hash, last, tlog.RecordHash(changed)))

	damaged := &tileReader{dir: dir, tiles: map[tlog.Tile][]byte{}}
	for tile, data := range reader.tiles {
		copied := append([]byte{}, data...)
		if tile.L == 0 {
			copied[0] ^= 1
		}
		damaged.tiles[tile] = copied
	}
	_, err = tlog.ProveRecord(head.size, 0, tlog.TileHashReader(tlog.Tree{N: head.size, Hash: head.hash}, damaged))
	refused("tampered tile is refused", err)
}
