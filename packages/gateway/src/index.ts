/** The customer's end of the proof: what forwards to a service only while its evidence holds. */
export {};
