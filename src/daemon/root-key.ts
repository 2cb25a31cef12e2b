/**
 * The agent's root key and where it is kept: out of a home into a sealed file, back from one, and away. The file in the home is
 * the truth: whoever needs the key reads it anew, so all of this works whether or not a daemon runs.
 */
import { closeSync, constants, fsyncSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { SelfsameError, signingKeyOf, systemRandom } from '../core/index.ts'
import type { AgentId, PublicKey } from '../core/index.ts'
import { decodeRecord } from '../membership/index.ts'
import type { Genesis } from '../membership/index.ts'
import { damageAdvice, readStoredRecords } from '../storage/index.ts'
import { readRootSeed, removeRootSeed, writeRootSeed } from './home.ts'
import type { HomePaths, Identity } from './home.ts'
import { readSealedRootKey, sealRootKey } from './root-key-file.ts'
import type { RootKey } from './root-key-file.ts'

/** Public facts about the keys of a home. */
export interface KeyFacts {
  readonly deviceKey: PublicKey
  readonly rootKey: PublicKey
  /** Whether the root key is kept on this machine. */
  readonly rootKeyHere: boolean
}

interface Home {
  readonly paths: HomePaths
  readonly identity: Identity
}

export function keyFactsOf(home: Home): KeyFacts {
  const { paths, identity } = home
  return {
    deviceKey: signingKeyOf(identity.deviceSeed).publicKey,
    rootKey: genesisIn(home).key,
    rootKeyHere: readRootSeed(paths) !== null,
  }
}

/**
 * Seals the root key of a home into a new file of mode 0600. Throws `not-found` where the home has none, `invalid-request` for a
 * passphrase that is too short and for a file that is there or cannot be made.
 */
export function exportRootKey(home: Home, file: string, passphrase: string): void {
  const seed = readRootSeed(home.paths)
  if (seed === null) {
    throw new SelfsameError(
      'not-found',
      `the root key of ${home.identity.agentName} is not on this machine: 'selfsame key import FILE' brings it back from where it was exported to`,
    )
  }
  writeRootKeyFile(file, { key: signingKeyOf(seed), genesis: genesisIn(home) }, passphrase)
}

/** Seals `rootKey` into a new file, as `exportRootKey` does. */
export function writeRootKeyFile(file: string, rootKey: RootKey, passphrase: string): void {
  checkIsFree(file)
  const text = sealRootKey(rootKey, passphrase, systemRandom)
  let descriptor: number
  try {
    descriptor = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
  } catch (error) {
    throw new SelfsameError('invalid-request', `${file} cannot be made: ${(error as Error).message}`, { cause: error })
  }
  try {
    writeSync(descriptor, text)
    fsyncSync(descriptor)
  } catch (error) {
    rmSync(file, { force: true })
    throw new SelfsameError('storage-failed', `${file} cannot be written: ${(error as Error).message}`, { cause: error })
  } finally {
    closeSync(descriptor)
  }
}

/** Refuses before the work is done; the file is made with O_EXCL all the same. */
function checkIsFree(file: string): void {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined)
    throw new SelfsameError('invalid-request', `${file} is there already, and nothing is overwritten: choose another name`)
}

/**
 * Takes the root key out of a sealed file and keeps it in the home. Throws `not-found` where there is no such file,
 * `key-refused` where it does not open or is another agent's.
 */
export function importRootKey(home: Home, file: string, passphrase: string): void {
  writeRootSeed(home.paths, openRootKeyFile(home, file, passphrase).key.seed)
}

/**
 * Has the home keep no root key any more; answers whether it had one. `proof` is where it was exported to: it has to open and
 * to hold this very key, else `key-refused`. Null takes the caller's word.
 */
export function forgetRootKey(home: Home, proof: { readonly file: string; readonly passphrase: string } | null): boolean {
  const seed = readRootSeed(home.paths)
  if (proof !== null) openRootKeyFile(home, proof.file, proof.passphrase)
  removeRootSeed(home.paths)
  return seed !== null
}

/** The root key of the home's agent in a sealed file: an agent has one, which its id commits to. */
function openRootKeyFile({ identity }: Home, file: string, passphrase: string): RootKey {
  const refused = (reason: string): SelfsameError => new SelfsameError('key-refused', `${file} is not accepted: ${reason}`)
  const sealed = readSealedRootKey(textOf(file))
  if (!sealed.ok) throw refused(sealed.reason)
  const { agent, name } = sealed.value.genesis
  if (agent !== identity.agent) {
    const id = (whose: AgentId): string => whose.slice(0, 16)
    throw refused(
      `it holds the root key of another agent, ${name} (${id(agent)}); this one is ${identity.agentName} (${id(identity.agent)})`,
    )
  }
  const opened = sealed.value.open(passphrase)
  if (!opened.ok) throw refused(opened.reason)
  return opened.value
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new SelfsameError('not-found', `${file} cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

/** The record that founded the agent, from the home's database. */
function genesisIn({ paths, identity }: Home): Genesis {
  for (const { bytes } of readStoredRecords(paths.database)) {
    const record = decodeRecord(bytes)
    if (record.ok && record.value.kind === 'genesis' && record.value.agent === identity.agent) return record.value
  }
  throw new SelfsameError('storage-corrupt', `${paths.database} is missing or empty: ${damageAdvice}`)
}
