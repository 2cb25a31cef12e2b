/** A bounded run of the random histories, and proof that they reach what they are meant to reach. `npm run histories` runs more. */
import { describe, expect, it } from 'vitest'
import { actKinds, actsOf } from './acts.ts'
import { faultsOf, featuresOf, modelOfRecords } from './check-history.ts'
import { play } from './random-history.ts'
import { shrunk, told } from './shrink-history.ts'

/** Some ten milliseconds each. */
const seeds = 200

describe('the member table over random histories', () => {
  it(`is what its model says under every seed from 1 to ${seeds}, in every order of arrival`, () => {
    for (let seed = 1; seed <= seeds; seed += 1) {
      if (faultsOf(play(actsOf(seed)), seed).length === 0) continue
      const { history } = shrunk(actsOf(seed), (smaller) => faultsOf(smaller, seed))
      expect.fail(`seed ${seed}: ${faultsOf(history, seed)[0]}\n${told(history.records)}`)
    }
  })

  it('meets every act, and every case that the rules speak of', () => {
    const acts = new Set<string>()
    const features = new Set<string>()
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { done, records } = play(actsOf(seed))
      for (const kind of done.keys()) acts.add(kind)
      for (const feature of featuresOf(modelOfRecords(records), records)) features.add(feature)
    }
    expect([...acts].toSorted()).toEqual([...actKinds].toSorted())
    expect([...features].toSorted()).toEqual([
      'lawful records that do not stand',
      'members with several keys',
      'mutual removals',
      'records kept behind unknown ones',
      'removals that do not stand',
      'removed members taken back',
      'renames',
      'rings of removals',
      'rotations at once',
      'void records',
      'with member instances',
      'with removed instances',
      'with suspended instances',
      'without an admin left',
    ])
  })

  it('plays the same again under the same seed', () => {
    const hashes = (seed: number) => play(actsOf(seed)).records.map(({ hash }) => hash)
    expect(hashes(7)).toEqual(hashes(7))
    expect(hashes(7)).not.toEqual(hashes(8))
  })
})
