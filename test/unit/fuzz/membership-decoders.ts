/**
 * The decoders of membership: records, join requests and answers, the store of invites, tickets. Statements are built here field
 * by field and signed as they are, so that what is behind the signature is reached with whatever was written.
 */
import { crc32 } from 'node:zlib'
import { encode, hashOf, idToBytes, ok, refuse } from '../../../src/core/index.ts'
import type { Encodable, Random, SigningKey } from '../../../src/core/index.ts'
import {
  decodeInvites,
  decodeRecord,
  decodeTicket,
  encodeInvites,
  encodeJoinRequest,
  encodeJoinResponse,
  encodeTicket,
  foundAgent,
  joinRefusals,
  judgeJoinRequest,
  memberTableOf,
  readJoinResponse,
  recordHash,
} from '../../../src/membership/index.ts'
import type { Invite, JoinRefusal } from '../../../src/membership/index.ts'
import { drawValue, mutated, mutateBytes, mutateItems, trickyTexts } from './cbor-mutations.ts'
import type { Draft } from './cbor-mutations.ts'
import { createDice } from './dice.ts'
import type { Dice } from './dice.ts'
import { promise } from './fuzz.ts'
import type { Case, Decoder } from './fuzz.ts'
import { keys, messageDecoder, pooled, sameBytes } from './message-decoders.ts'

const random: Random = (() => {
  const dice = createDice('membership')
  return { bytes: (length) => dice.bytes(length), unit: () => dice.below(2 ** 20) / 2 ** 20 }
})()
const [rootKey, adminKey, joinerKey, inviteKey] = keys
const now = 1_800_000_000_000
const founded = foundAgent({ agentName: 'kevin', instanceName: 'desk', rootKey, deviceKey: adminKey }, now, random)
const { agent } = founded
const table = memberTableOf(agent, founded.records)
const admin = table.memberByKey(adminKey.publicKey)!.instance
const invite: Invite = { key: inviteKey.publicKey, role: 'writer', expiresAt: now + 1, usesLeft: 1, name: null }

/** Types that there are, that may come, and that will not. */
const recordTypes = [1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 300]

function signed(statement: Uint8Array, key: SigningKey): Uint8Array {
  return encode([statement, key.sign('selfsame/record/1', statement)])
}

/** The claim of a new instance, as the protocol has it. */
function claimOf(key: SigningKey): Encodable {
  const instance = hashOf('selfsame/instance/1', idToBytes(key.publicKey)).subarray(0, 16)
  const message = encode([idToBytes(agent), Uint8Array.from(instance), idToBytes(key.publicKey)])
  return [
    idToBytes(key.publicKey),
    key.sign('selfsame/consent/1', message),
    [idToBytes(inviteKey.publicKey), inviteKey.sign('selfsame/invite-proof/1', message)],
  ]
}

/** A record that its author did sign: right but for what was done to its statement. */
function drawRecord(dice: Dice): Draft {
  if (dice.chance(0.2)) return { bytes: dice.pick(founded.records).bytes, valid: true }
  const type = dice.pick(recordTypes)
  const byRoot = dice.chance(0.3)
  const payload =
    type === 2 || dice.chance(0.3)
      ? [claimOf(joinerKey), dice.pick(['pi', 'é', ...trickyTexts]), dice.below(4), 1 + dice.below(3)]
      : drawValue(dice, 3)
  const key = byRoot ? rootKey : adminKey
  const statement = encode([
    1,
    type,
    type === 1 ? null : idToBytes(agent),
    byRoot ? null : idToBytes(admin),
    idToBytes(key.publicKey),
    type === 1 ? [] : [idToBytes(founded.records[1].hash)],
    now,
    payload,
  ])
  return { bytes: signed(dice.chance(0.5) ? statement : mutateItems(dice, statement, () => encode(drawValue(dice))), key), valid: false }
}

const record = messageDecoder('record', 6, drawRecord, decodeRecord, (value, bytes) => {
  sameBytes(value.bytes, bytes)
  promise(value.hash === recordHash(bytes), 'the hash is that of the bytes')
  const members = memberTableOf(agent, [...founded.records, value])
  promise(members.digest().length === 32, 'a table can be made of it')
})

const joinRequest: Decoder = messageDecoder(
  'join-request',
  10,
  (dice) => {
    const request = encodeJoinRequest({ agent, seed: inviteKey.seed }, joinerKey, dice.pick(['pi', 'é']))
    return { bytes: request, valid: true }
  },
  (bytes) => {
    const invites = new Map([[invite.key, invite]])
    const verdict = judgeJoinRequest(bytes, { table, invites, issuer: { instance: admin, key: adminKey }, from: joinerKey.publicKey, now })
    return verdict.type === 'refused' ? refuse(verdict.refusal) : ok(verdict)
  },
  (verdict) => {
    promise(verdict.type === 'admitted' && verdict.invite.usesLeft === 0, 'a valid request uses up the invite')
    promise(decodeRecord(verdict.admission.bytes).ok, 'the admission decodes')
  },
)

/**
 * Each record has some signatures to verify. Here as many as take a tenth of a second: a full answer, of one MiB, takes longer, once,
 * where nothing else is done yet than joining.
 */
const joinResponseBytesMax = 64 << 10

const joinResponse = messageDecoder(
  'join-response',
  12,
  (dice) =>
    dice.chance(0.2)
      ? { bytes: encodeJoinResponse(dice.pick(Object.keys(joinRefusals) as JoinRefusal[])), valid: false }
      : {
          bytes: encode([
            1,
            [...founded.records.map(({ bytes }) => bytes), ...dice.times(dice.below(3), () => drawRecord(dice).bytes)],
            dice.times(dice.below(3), () => [dice.bytes(32), dice.times(dice.below(3), () => `/ip4/192.0.2.${dice.below(256)}/tcp/4001`)]),
          ]),
          valid: false,
        },
  (bytes) => readJoinResponse(bytes, agent, adminKey.publicKey),
  ({ records, member }) => {
    promise(member.key === adminKey.publicKey, 'the member is the one that asked')
    promise(records.length > 0, 'there are records')
  },
  joinResponseBytesMax,
)

const inviteStore = messageDecoder(
  'invites',
  2,
  (dice) => ({
    bytes: encode(
      dice.times(dice.below(4), () => [
        dice.bytes(32),
        dice.below(3),
        dice.below(2 ** 31),
        dice.below(100),
        dice.chance(0.5) ? null : dice.pick(['pi', 'é']),
      ]),
    ),
    valid: true,
  }),
  decodeInvites,
  (invites) => {
    const again = decodeInvites(encodeInvites(invites.values(), now))
    promise(again.ok && again.value.size === invites.size, 'what was read is written and read again')
  },
)

/** RFC 4648, section 6, in lower case and without padding. */
function toBase32(bytes: Uint8Array): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => alphabet[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}

const drawTicket = pooled('ticket', (dice) =>
  encode([
    idToBytes(agent),
    dice.pick(['kevin', 'é']),
    idToBytes(adminKey.publicKey),
    dice.times(dice.below(4), () => dice.pick(['/ip4/192.0.2.1/tcp/27200', '/dns4/a.example/tcp/1'])),
    dice.bytes(32),
    dice.below(2 ** 31),
  ]),
)

/** A ticket as somebody might paste it. Most have the right checksum, whatever they hold. */
const ticket: Decoder = {
  name: 'ticket',
  weight: 2,
  draw(dice): Case {
    const draft = mutated(dice, { bytes: drawTicket(dice), valid: true }, () => drawTicket(dice))
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32BE(crc32(draft.bytes))
    const whole = `selfsame1-${toBase32(draft.bytes.length < 7_000 ? Buffer.concat([draft.bytes, checksum]) : draft.bytes.subarray(0, 7_000))}`
    const luck = dice.below(10)
    const pasted = luck < 6 ? whole : luck < 8 ? `\n ${whole.toUpperCase().replace(/(.{40})/g, '$1\r\n\t ')} ` : mistyped(dice, whole)
    return {
      input: Buffer.from(pasted),
      valid: draft.valid && luck < 8,
      decode() {
        const read = decodeTicket(pasted)
        if (read.ok)
          return () => promise(encodeTicket(read.value) === pasted.replaceAll(/\s/gu, '').toLowerCase(), 'one ticket has one text')
        promise(read.reason.length < 200, 'a reason is for a person')
        return null
      },
    }
  },
}

function mistyped(dice: Dice, text: string): string {
  if (dice.chance(0.3))
    return dice.pick([...trickyTexts, 'selfsame2-aaaa', 'selfsame1-', `selfsame1-${'a'.repeat(20_000)}`, ' '.repeat(9_000)])
  return Buffer.from(mutateBytes(dice, Buffer.from(text), () => dice.bytes(10))).toString(dice.pick(['utf8', 'latin1', 'utf16le']))
}

export const membershipDecoders: readonly Decoder[] = [record, joinRequest, joinResponse, inviteStore, ticket]
