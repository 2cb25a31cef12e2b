/** Where the instances of an agent meet: names that members can compute and strangers cannot read anything from. */
import { hashToId, idToBytes } from '../core/index.ts'
import type { AgentId } from '../core/index.ts'

/** Under which they announce themselves on a local network: 32 letters and digits. */
export function serviceTagOf(agent: AgentId): string {
  return hashToId('selfsame/mdns/1', idToBytes(agent)).slice(0, 32)
}

/** Under which they gossip. */
export function gossipTopicOf(agent: AgentId): string {
  return hashToId('selfsame/gossip/1', idToBytes(agent))
}
