/**
 * Limits on what one message, envelope or request may hold. They bound memory and time per input; none bounds a
 * document as a whole. Raising one raises what a single bad input can cost; lowering one below what an older version
 * wrote makes its envelopes invalid here, so they are part of the rules version.
 */

/** Bytes of one body: an update of one document together with its name and operation ids. */
export const bodyBytesMax = 2 << 20
/** Bodies in one envelope, so documents that one atomic batch can touch. */
export const envelopeBodiesMax = 256
/** Bytes of one envelope, bodies included. */
export const envelopeBytesMax = 4 << 20
/** Bytes of one header: 256 bodies of about 75 bytes, deps and records. */
export const headerBytesMax = 64 << 10
/** Heads of other feeds that one header may name. Honest writers name only the maximal ones that are new. */
export const headerDepsMax = 1_024
/** Heads of membership records that one header, or one membership record, may name. */
export const headerRecordsMax = 64
/** Operations in one envelope; an entry's index in its envelope fits 16 bits. */
export const envelopeOperationsMax = 16_384
/** Structs (Yjs) in one update. */
export const updateStructsMax = 65_536
/** Entries of one log segment before the writer opens the next. Yjs appends in O(segment), so short keeps appends cheap;
 * each segment costs about 100 bytes on disk and one load in a digest. */
export const segmentEntriesMax = 2_048
/** UTF-8 bytes of a document name. */
export const documentNameBytesMax = 256
/** UTF-16 units of an operation id given by a client. */
export const operationIdLengthMax = 256
/** Nesting of JSON in an entry's data, a register value or a json document. Recursive walks stay far from the stack's end. */
export const jsonDepthMax = 64
/** UTF-16 units of a counter key, set member or register key. */
export const cellKeyLengthMax = 1_024
/** Bytes of one register value as JSON. */
export const cellValueBytesMax = 256 << 10
/** UTF-16 units of a whole text document. One update must carry a full replacement. */
export const textLengthMax = 512 << 10
/** Bytes of one gossip message. gossipsub drops the peer for good above the receiver's limit of 256 KiB. */
export const gossipBytesMax = 224 << 10
/** Bytes of one frame on a control or bulk stream after decompression. */
export const frameBytesMax = 8 << 20
/** Bytes of one membership record: 64 parents take 2 KiB, a cut of 48 places 3 KiB. */
export const recordBytesMax = 8 << 10
/** UTF-16 units of an agent's or instance's name. */
export const memberNameLengthMax = 64
