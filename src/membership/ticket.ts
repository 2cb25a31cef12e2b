/**
 * The ticket: what one person carries from an instance that invites to the machine that joins. Whoever has it can join,
 * so it is a secret. As text it is `selfsame1-` and base32, lower case, of a deterministic CBOR array and its CRC-32.
 */
import { crc32 } from 'node:zlib'
import {
  asListOf,
  asTuple,
  assert,
  bytesToId,
  decode,
  encode,
  idBytes,
  idToBytes,
  isBytes,
  isText,
  isUint,
  ok,
  refuse,
} from '../core/index.ts'
import type { AgentId, PublicKey, Result } from '../core/index.ts'
import { isMemberName } from './member-name.ts'

export interface Ticket {
  readonly agent: AgentId
  readonly agentName: string
  /** Device key of the issuer: the only one that answers to this ticket. */
  readonly issuer: PublicKey
  /** Multiaddrs of the issuer, likeliest first. */
  readonly addresses: readonly string[]
  /** Seed of the invite's key: the secret. */
  readonly seed: Uint8Array
  /** Milliseconds since the Unix epoch, by the issuer's clock, which decides. */
  readonly expiresAt: number
}

/** Addresses in a ticket: each makes its text some 60 characters longer. */
export const ticketAddressesMax = 16
const addressLengthMax = 256
const seedBytes = 32
const prefix = 'selfsame1-'
/** A full ticket has some 7,000 characters at the most; anything longer is not one. */
const ticketLengthMax = 10_000
/** CRC-32 finds every error within 32 bits in a row, so surely one wrong character and two that changed places. */
const checksumBytes = 4

/** The ticket as text. Of the addresses it carries the first `ticketAddressesMax`. */
export function encodeTicket(ticket: Ticket): string {
  const { agent, agentName, issuer, seed, expiresAt } = ticket
  const addresses = ticket.addresses.slice(0, ticketAddressesMax)
  assert(addresses.every(isAddress), 'a ticket names multiaddrs')
  const content = encode([idToBytes(agent), agentName, idToBytes(issuer), addresses, seed, expiresAt])
  return prefix + toBase32(Buffer.concat([content, checksumOf(content)]))
}

/** Reads a ticket as typed or pasted: case and white space do not matter. The reason says what a person can do. */
export function decodeTicket(text: string): Result<Ticket> {
  if (text.length > ticketLengthMax) return refuse('this is too long to be a ticket')
  const compact = text.replaceAll(/\s/gu, '').toLowerCase()
  if (!compact.startsWith(prefix)) {
    return refuse(
      /^selfsame\d+-/u.test(compact)
        ? 'this ticket is of another version of selfsame: use the same on both sides'
        : 'a ticket begins with selfsame1-',
    )
  }
  const content = readChecked(compact.slice(prefix.length))
  if (content === undefined) return refuse('the ticket is mistyped or a part is missing: copy it again, whole')
  return decodeContent(content)
}

/** What the base32 text holds before its checksum; undefined where it is no base32 or the checksum is not right. */
function readChecked(text: string): Uint8Array | undefined {
  const bytes = fromBase32(text)
  if (bytes === undefined) return undefined
  const content = bytes.subarray(0, -checksumBytes)
  return Buffer.compare(checksumOf(content), bytes.subarray(-checksumBytes)) === 0 ? content : undefined
}

function decodeContent(content: Uint8Array): Result<Ticket> {
  const decoded = decode(content)
  if (!decoded.ok) return decoded
  const fields = asTuple(decoded.value, 6)
  if (fields === undefined) return refuse('a ticket has 6 fields')
  const [agent, agentName, issuer, addressList, seed, expiresAt] = fields
  if (!isBytes(agent, idBytes.agent)) return refuse('the ticket has a bad agent id')
  if (!isMemberName(agentName)) return refuse('the ticket has a bad agent name')
  if (!isBytes(issuer, idBytes.key)) return refuse('the ticket has a bad issuer')
  const addresses = asListOf(addressList, ticketAddressesMax, isAddress)
  if (addresses === undefined) return refuse('the ticket has bad addresses')
  if (!isBytes(seed, seedBytes) || !isUint(expiresAt)) return refuse('the ticket has a bad invite')
  return ok({ agent: bytesToId(agent), agentName, issuer: bytesToId(issuer), addresses, seed, expiresAt })
}

/** Whether a value has the form of a multiaddr that one instance tells another. */
export function isAddress(value: unknown): value is string {
  return isText(value, addressLengthMax) && /^(?:\/[\u0021-\u002e\u0030-\u007e]+)+$/u.test(value)
}

function checksumOf(content: Uint8Array): Uint8Array {
  const checksum = Buffer.alloc(checksumBytes)
  checksum.writeUInt32BE(crc32(content))
  return checksum
}

/** RFC 4648, section 6, in lower case and without padding. */
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

function toBase32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet.charAt((value >>> (bits - 5)) & 31)
  }
  return bits > 0 ? text + alphabet.charAt((value << (5 - bits)) & 31) : text
}

/** Undefined for a foreign character, and for a last character with bits that no encoder sets. */
function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array((text.length * 5) >>> 3)
  let bits = 0
  let value = 0
  let length = 0
  for (const character of text) {
    const digit = alphabet.indexOf(character)
    if (digit < 0) return undefined
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[length++] = value >>> bits
    }
  }
  return bits < 5 && (value & ((1 << bits) - 1)) === 0 ? bytes : undefined
}
