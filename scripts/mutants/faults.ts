/**
 * The faults that are planted, and what ought to catch each: the cheapest check there is. A place to change that stands not exactly once in its
 * file is an error, so that no fault goes stale unnoticed.
 */
import type { Life } from '../../test/power-loss/lives.ts'

export type Check =
  /** A file of tests. */
  | { readonly type: 'test'; readonly file: string }
  /** The simulator, with seeds from 1 on. */
  | { readonly type: 'simulator'; readonly seeds: number }
  /** Disks after a power loss, with seeds from 1 on. */
  | { readonly type: 'power loss'; readonly life: Life; readonly seeds: number }

export interface Fault {
  readonly name: string
  readonly file: string
  readonly find: string
  readonly replace: string
  readonly check: Check
}

const test = (file: string): Check => ({ type: 'test', file: `test/${file}.test.ts` })
const simulator = (seeds: number): Check => ({ type: 'simulator', seeds })
const powerLoss = (life: Life, seeds: number): Check => ({ type: 'power loss', life, seeds })

const onDisk: readonly Fault[] = [
  {
    name: 'do not sync a commit',
    file: 'src/storage/sqlite-connection.ts',
    find: 'pragma synchronous = full;',
    replace: 'pragma synchronous = normal;',
    check: powerLoss('short', 10),
  },
  {
    name: 'throw the log away before the database that it went into is synced',
    file: 'src/storage/sqlite-writer.ts',
    find: "database.exec('pragma wal_checkpoint(truncate)')",
    replace: "database.exec('pragma synchronous = off; pragma wal_checkpoint(truncate)')",
    check: powerLoss('short', 10),
  },
  {
    name: 'begin the log again before the database that it went into is synced',
    file: 'src/storage/sqlite-writer.ts',
    find: "database.exec('pragma wal_checkpoint(passive)')",
    replace: "database.exec('pragma synchronous = off; pragma wal_checkpoint(passive); pragma synchronous = full')",
    check: powerLoss('long', 10),
  },
  {
    name: 'rename a file before its content is synced',
    file: 'src/daemon/home.ts',
    find: '    fsyncSync(file)\n  } finally {\n    closeSync(file)\n  }\n  renameSync(',
    replace: '  } finally {\n    closeSync(file)\n  }\n  renameSync(',
    check: powerLoss('home', 40),
  },
  {
    name: 'do not sync the directory of a renamed file',
    file: 'src/daemon/home.ts',
    find: '  syncDirectory(dirname(path))\n',
    replace: '',
    check: powerLoss('home', 40),
  },
  {
    name: 'do not sync the directory in which a home is made',
    file: 'src/daemon/home.ts',
    find: 'syncDirectory(dirname(made))',
    replace: 'dirname(made)',
    check: powerLoss('home', 40),
  },
  {
    name: 'let the mark of a clean stop come back while the daemon runs',
    file: 'src/daemon/stop-marker.ts',
    find: '      syncDirectory(run)\n',
    replace: '',
    check: powerLoss('home', 40),
  },
]

const inTheStore: readonly Fault[] = [
  {
    name: 'call every failed commit rolled back',
    file: 'src/storage/sqlite-writer.ts',
    find: "return sqliteCodeOf(error) === sqliteCode.full ? 'rolled-back' : 'unknown'",
    replace: "return sqliteCodeOf(error) === sqliteCode.full ? 'rolled-back' : 'rolled-back'",
    check: test('unit/storage/sqlite-store'),
  },
  {
    name: 'show readers a commit under way',
    file: 'src/storage/sqlite-store.ts',
    find: '    this.queries.pin.first()\n',
    replace: '',
    check: test('unit/storage/sqlite-store'),
  },
  {
    name: 'store an envelope without its last body',
    file: 'src/storage/batch-program.ts',
    find: 'for (const [index, body] of row.bodies.entries()) {',
    replace: 'for (const [index, body] of row.bodies.slice(0, -1).entries()) {',
    check: test('contract/store'),
  },
]

const inEnvelopes: readonly Fault[] = [
  {
    name: 'take a body that does not match its hash',
    file: 'src/feed/envelope.ts',
    find: 'if (reference.length !== body.bytes.length || Buffer.compare(reference.hash, bodyHash(body)) !== 0)',
    replace: 'if (reference.length !== body.bytes.length)',
    check: test('unit/feed/envelope'),
  },
  {
    name: 'leave the salt out of the hash of a body',
    file: 'src/feed/envelope.ts',
    find: "hashOf('selfsame/body/1', body.salt, body.bytes)",
    replace: "hashOf('selfsame/body/1', body.bytes)",
    check: test('unit/feed/envelope'),
  },
  {
    name: 'skip the check of the chain',
    file: 'src/replica/ledger.ts',
    find: "      if (header.previous !== state.head) return 'fork'\n",
    replace: '',
    check: test('unit/replica/ledger'),
  },
  {
    name: 'skip the signatures of a chunk',
    file: 'src/replica/proof.ts',
    find: '  while (index >= 0 && !isSignedBy(run[index] as Envelope, key)) {',
    replace: '  while (index >= 0 && (run[index] as Envelope).signature === null) {',
    check: test('unit/replica/proof'),
  },
  {
    name: 'believe every envelope of a chunk whose last one is signed',
    file: 'src/replica/proof.ts',
    find: '    if (next !== undefined && next.header.previous !== envelope.hash) return forgeriesLeft\n',
    replace: '',
    check: test('unit/replica/proof'),
  },
  {
    name: 'skip the signature of an envelope that was gossiped',
    file: 'src/replica/sync.ts',
    find: 'const proven = provenEnvelopes(message.envelopes, () => key)',
    replace: 'const proven = message.envelopes',
    check: test('unit/replica/gossip'),
  },
  {
    name: 'skip the signature of a membership record',
    file: 'src/membership/record.ts',
    find: 'if (!verifySignature(statement.key, signatureDomain, statementBytes, signature))',
    replace: 'if (signature.length === 0)',
    check: test('unit/membership/record'),
  },
]

const inDocuments: readonly Fault[] = [
  {
    name: 'drop the deletions of an update',
    file: 'src/document/cells.ts',
    find: '          if (item.id.clock >= clock + length) break\n          item.delete(transaction)',
    replace: '          if (item.id.clock >= clock + length) break',
    check: test('unit/document/cells'),
  },
  {
    name: 'let a removal from a set win over an addition that it did not see',
    file: 'src/document/cells.ts',
    find: '          if (item.id.clock >= clock + length) break\n          item.delete(transaction)',
    replace:
      "          if (item.id.clock >= clock + length) break\n          for (const other of cellsByKey.get(contentOf(item)?.key ?? '') ?? []) other.item.delete(transaction)\n          item.delete(transaction)",
    check: test('unit/document/cells'),
  },
  {
    name: "accept a client id that is not the author's",
    file: 'src/document/update-reader.ts',
    find: "  if (parts.value.client !== client) return refuse('structs of another client than the feed')\n",
    replace: '',
    check: test('unit/document/check-update'),
  },
  {
    name: 'accept a deletion of what the author had not seen',
    file: 'src/document/check-update.ts',
    find: "    if (range.clock + range.length > end) return 'a deletion beyond the declared past'\n",
    replace: '',
    check: test('unit/document/check-update'),
  },
  {
    name: 'accept a counter update that deletes what others counted',
    file: 'src/document/check-update.ts',
    find: 'faultOfCells(counterCell, parts, context, keys) ?? faultOfCounterDeletes(parts, context)',
    replace: 'faultOfCells(counterCell, parts, context, keys)',
    check: test('unit/document/check-update'),
  },
  {
    name: 'settle a tie of registers by arrival',
    file: 'src/document/register.ts',
    find: 'compare(b.value.stamp, a.value.stamp) || b.item.id.client - a.item.id.client || b.item.id.clock - a.item.id.clock',
    replace: '(a.item === b.item ? 0 : 0)',
    check: test('unit/document/cells'),
  },
  {
    name: 'merge a stale text by overwriting',
    file: 'src/document/text.ts',
    find: '        return mergeText(basis, next, staged)',
    replace: '        return next',
    check: test('unit/document/text'),
  },
  {
    name: "fold others' counts into one's own",
    file: 'src/document/counter.ts',
    find: 'const total = (totalsOf(key).get(client)?.value ?? 0n) + amount',
    replace: 'const total = sumOf(key) + amount',
    check: test('unit/document/cells'),
  },
  {
    name: 'show a json document as it was before what came in',
    file: 'src/document/json.ts',
    find: 'if (!local) plain = null',
    replace: 'if (local) plain = null',
    check: test('unit/document/json'),
  },
  {
    name: 'digest entries that an update repeats',
    file: 'src/document/log-segment.ts',
    find: 'content.values.slice(values.length - clock)',
    replace: 'content.values',
    check: test('unit/document/log-segment'),
  },
  {
    name: 'digest a log from where its last segment was begun',
    file: 'src/replica/digests.ts',
    find: '        isOrderly = false\n',
    replace: '',
    check: test('unit/replica/digests'),
  },
]

const inMembership: readonly Fault[] = [
  {
    name: 'ignore a cut',
    file: 'src/replica/acceptance.ts',
    find: 'let counted = Number.POSITIVE_INFINITY\n',
    replace: 'let counted = Number.POSITIVE_INFINITY\n    if (counted > 0) return counted\n',
    check: test('unit/replica/removal'),
  },
  {
    name: 'let a cut vouch for whatever stands at its place',
    file: 'src/replica/acceptance.ts',
    find: 'return found?.feed === feed && found.sequence === sequence',
    replace: 'return found === undefined || (found.feed === feed && found.sequence === sequence)',
    check: test('unit/replica/removal-found'),
  },
  {
    name: 'accept the write of a reader',
    file: 'src/membership/member-table.ts',
    find: "past.level(instance) >= levelOf('writer')",
    replace: "past.level(instance) >= levelOf('reader')",
    check: test('unit/membership/member-table'),
  },
  {
    name: 'admit by an invite that has expired',
    file: 'src/membership/admission.ts',
    find: "  if (now >= invite.expiresAt) return refused('expired')\n",
    replace: '',
    check: test('unit/membership/admission'),
  },
  {
    name: 'let an invite be used for ever',
    file: 'src/membership/admission.ts',
    find: 'usesLeft: invite.usesLeft - 1',
    replace: 'usesLeft: invite.usesLeft',
    check: test('unit/membership/admission'),
  },
]

const inTheReplica: readonly Fault[] = [
  {
    name: 'acknowledge before the commit',
    file: 'src/replica/engine.ts',
    find: "    this.#state = 'committing'\n",
    replace: "    this.#state = 'committing'\n    for (const settle of batch.settle) settle()\n",
    check: simulator(10),
  },
  {
    name: 'gossip before the commit',
    file: 'src/replica/engine.ts',
    find: "    this.#state = 'committing'\n",
    replace: "    this.#state = 'committing'\n    this.#tell({ ...batch, settle: [], puts: [] }, changed, null)\n",
    check: simulator(10),
  },
  {
    name: 'tell a frontier that is not durable',
    file: 'src/replica/engine.ts',
    find: "    this.#state = 'committing'\n",
    replace: "    this.#state = 'committing'\n    for (const entry of changed) this.#durable.set(entry.feed, entry)\n",
    check: simulator(10),
  },
  {
    name: 'call a commit done whose outcome is unknown',
    file: 'src/replica/engine.ts',
    find: 'for (const pending of [...batch.writes, ...batch.puts]) pending.reject(answer)',
    replace: 'for (const settle of batch.settle) settle()\n    for (const pending of batch.puts) pending.reject(answer)',
    check: test('unit/replica/replica'),
  },
  {
    name: 'apply before the deps',
    file: 'src/replica/applier.ts',
    find: '      if (place?.applied === true) continue\n',
    replace: '      if (place !== undefined) continue\n',
    check: simulator(10),
  },
  {
    name: 'go on in the feed of the last run after a restart',
    file: 'src/replica/writer.ts',
    find: '    for (;;) {\n      const opening: Opening',
    replace:
      '    const before = lastFeed === undefined ? undefined : ledger.feed(lastFeed)\n    if (before !== undefined) return { feed: before.feed, client: clientIdOf(before.feed), opening: null, previous: null, segments: new Map() }\n    for (;;) {\n      const opening: Opening',
    check: simulator(10),
  },
  {
    name: 'draw the same feed in every run',
    file: 'src/replica/writer.ts',
    find: 'nonce: random.bytes(16) }\n      const feed = feedIdOf(identity.agent, opening)\n      const client = clientIdOf(feed)\n      if (ledger.feedOfClient(client) !== undefined) continue\n',
    replace:
      'nonce: new Uint8Array(16) }\n      const feed = feedIdOf(identity.agent, opening)\n      const client = clientIdOf(feed)\n      if (ledger.feed(feed) !== undefined) return { feed, client, opening: null, previous: null, segments: new Map() }\n',
    check: simulator(10),
  },
  {
    name: 'forget operation ids',
    file: 'src/replica/materialiser.ts',
    find: '    this.#ledger.rows.operations.push(row)\n',
    replace: '',
    check: simulator(10),
  },
  {
    name: 'count a repeated request again',
    file: 'src/replica/writer.ts',
    find: 'const known = id === null ? undefined : materialiser.operation(lineage, id)',
    replace: "const known = id === null || operation.type === 'edit' ? undefined : materialiser.operation(lineage, id)",
    check: test('unit/replica/replica'),
  },
  {
    name: 'hide nothing that two copies of a home both did',
    file: 'src/replica/materialiser.ts',
    find: '      if (entry === null || known.entry === null || known.entry <= entry) return false\n      this.#hideEntry(known)\n',
    replace: '      return true\n',
    check: test('unit/replica/asked-of-two'),
  },
  {
    name: 'drop the last envelope of a chunk',
    file: 'src/replica/serving.ts',
    find: 'const wire: Encodable[] = chunk.map(',
    replace: 'const wire: Encodable[] = chunk.slice(0, -1).map(',
    check: simulator(10),
  },
  {
    name: 'ask for nothing that gossip lost',
    file: 'src/replica/sync.ts',
    find: 'if (!session.lacking.has(entry.feed)) session.lacking.set(entry.feed, complete ? Number.NEGATIVE_INFINITY : now)',
    replace: 'if (complete) session.lacking.set(entry.feed, Number.NEGATIVE_INFINITY)',
    check: test('unit/replica/gossip'),
  },
  {
    name: 'ask for nothing at all',
    file: 'src/replica/sync.ts',
    find: "this.#send(session, { type: 'want', request: this.#requests, ranges, bytesMax: wantBytes })",
    replace: '',
    check: simulator(10),
  },
]

const atTheDoor: readonly Fault[] = [
  {
    name: 'let in whoever brings no token',
    file: 'src/api/gate.ts',
    find: '        if (tokenRequired) throw new',
    replace: '        if (tokenRequired && authorization !== undefined) throw new',
    check: test('contract/api-access'),
  },
  {
    name: 'let a token write everywhere',
    file: 'src/api/gate.ts',
    find: '    if (!scope.allows(right, kind, name))\n',
    replace: "    if (right === 'read' && !scope.allows(right, kind, name))\n",
    check: test('contract/api-access'),
  },
]

export const faults: readonly Fault[] = [
  ...onDisk,
  ...inTheStore,
  ...inEnvelopes,
  ...inDocuments,
  ...inMembership,
  ...inTheReplica,
  ...atTheDoor,
]
