import { describe, expect, test } from 'vitest'
import { openLiveDocument } from '../../../src/document/index.ts'
import { seeds } from './group.ts'
import { replay, runHostileGroup } from './hostile.ts'

describe.each(['text', 'json'] as const)('whatever hostile members write into a %s document', (kind) => {
  test('all judge it alike, and what was accepted makes one document in any order', () => {
    let accepted = 0
    let refused = 0
    for (const seed of seeds(150)) {
      const group = runHostileGroup(kind, seed, 40)
      accepted += group.accepted
      refused += group.refused
      const [first, ...others] = group.documents
      const digest = first!.digest()
      for (const document of [...others, replay(kind, group, seed), openLiveDocument(kind, first!.state())]) {
        expect(document.digest(), `seed ${seed}`).toBe(digest)
        expect(document.hasPending(), `seed ${seed}`).toBe(false)
      }
    }
    expect(accepted).toBeGreaterThan(0)
    expect(refused).toBeGreaterThan(0)
  })
})
