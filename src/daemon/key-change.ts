/**
 * Giving an instance a new key, or a copied home an instance of its own. The new identity is on disk before anyone hears of it, and takes
 * the place of the old one once the membership record is durable: a crash in between leaves the old one or the new one, as the record says.
 */
import { SelfsameError, createSigningKey, signingKeyOf, systemRandom } from '../core/index.ts'
import { cloneIdOf, isMemberName, memberTableFrom } from '../membership/index.ts'
import type { Replica } from '../replica/index.ts'
import { readStoredRecords } from '../storage/index.ts'
import { readNextIdentity, removeNextIdentity, writeIdentity, writeNextIdentity } from './home.ts'
import type { HomePaths, Identity } from './home.ts'

export interface KeyChange {
  /** This home is a copy, and becomes an instance of its own. */
  readonly newInstance: boolean
  /** What that is called; as this one unless told. */
  readonly name: string | undefined
}

/**
 * Replaces the key of a running instance. Gives the identity that the home holds from then on; whoever runs on the old one has to begin
 * anew. Throws `SelfsameError`, with nothing changed.
 */
export async function changeKey(
  paths: HomePaths,
  identity: Identity,
  replica: Replica,
  { name, newInstance }: KeyChange,
): Promise<Identity> {
  if (name !== undefined && !newInstance) {
    throw new SelfsameError('invalid-request', "a name is for a new instance: this one is renamed with 'selfsame members rename'")
  }
  if (name !== undefined && !isMemberName(name)) {
    throw new SelfsameError('invalid-request', 'the name is not valid: 1 to 64 visible characters, no # and no space at either end')
  }
  if (readNextIdentity(paths) !== null) {
    throw new SelfsameError(
      'unavailable',
      "whether the last change of key took effect is not known: start the daemon anew ('selfsame down', 'selfsame up'), which settles it",
    )
  }
  const key = createSigningKey(systemRandom)
  const next: Identity = {
    ...identity,
    ...(newInstance ? { instance: cloneIdOf(identity.instance, key.publicKey), name: name ?? identity.name } : {}),
    deviceSeed: key.seed,
  }
  writeNextIdentity(paths, next)
  try {
    await replica.replaceKey(key, newInstance ? next.name : null)
  } catch (error) {
    // Where the outcome is unknown, the next start finds out.
    if (!(error instanceof SelfsameError && error.code === 'outcome-unknown')) removeNextIdentity(paths)
    throw error
  }
  adopt(paths, next)
  return next
}

/** The identity of a home whose last change of key may have been interrupted. */
export function settledIdentity(paths: HomePaths, identity: Identity): Identity {
  const next = readNextIdentity(paths)
  if (next === null) return identity
  const { publicKey } = signingKeyOf(next.deviceSeed)
  // It can have been left behind by an instance that was here before.
  const isOfThis = next.instance === identity.instance || next.instance === cloneIdOf(identity.instance, publicKey)
  if (!isOfThis || !memberTableFrom(identity.agent, readStoredRecords(paths.database)).isKeyOf(next.instance, publicKey)) {
    removeNextIdentity(paths)
    return identity
  }
  adopt(paths, next)
  return next
}

/** The old key is not kept: whoever found it could still give the instance another one. */
function adopt(paths: HomePaths, next: Identity): void {
  writeIdentity(paths, next)
  removeNextIdentity(paths)
}
