import type { Stream } from '@libp2p/interface'
import { describe, expect, it } from 'vitest'
import { Allowance } from '../../../src/core/index.ts'
import { openFrameStream } from '../../../src/network/libp2p-frames.ts'
import { costOf, streamAtPace } from '../../../src/network/libp2p-pace.ts'
import { createVirtualClock } from './virtual-clock.ts'

/** A stream as libp2p has them: what arrives while it is paused waits, and comes in one piece when it goes on. */
class FakeStream extends EventTarget {
  readStatus = 'readable'
  writeStatus = 'writable'
  status = 'open'
  /** What the other side was told last. */
  told: 'go on' | 'wait' = 'go on'
  #waiting: Uint8Array[] = []

  arrive(bytes: Uint8Array): void {
    if (this.readStatus === 'paused') this.#waiting.push(bytes)
    else this.dispatchEvent(Object.assign(new Event('message'), { data: bytes }))
  }

  pause(): void {
    this.readStatus = 'paused'
    this.told = 'wait'
  }

  resume(): void {
    this.readStatus = 'readable'
    const waiting = Buffer.concat(this.#waiting.splice(0))
    if (waiting.length > 0) this.arrive(new Uint8Array(waiting))
    this.told = 'go on'
  }

  abort(): void {
    this.status = 'aborted'
  }
}

const asStream = (stream: FakeStream): Stream => stream as unknown as Stream

function frames(count: number, bytes = 1): Uint8Array {
  const frame = Buffer.alloc(4 + bytes, 7)
  frame.writeUInt32BE(bytes)
  return new Uint8Array(Buffer.concat(Array.from({ length: count }, () => frame)))
}

describe('a stream that is read at a pace', () => {
  it('gives no more than some dozens of frames at a turn of the loop, and all of them in the end', async () => {
    const clock = createVirtualClock()
    const stream = new FakeStream()
    let count = 0
    openFrameStream(
      asStream(stream),
      { bytesMax: 100, pace: { clock, spend: () => 0 } },
      { frame: () => (count += 1), drained() {}, ended() {} },
    )
    stream.arrive(frames(1_000))
    expect(count).toBeLessThan(40)
    stream.arrive(frames(1_000))
    expect(count).toBeLessThan(40)
    await clock.advance(1_000)
    expect(count).toBe(2_000)
  })

  it('makes whoever spent its allowance wait, and reads nothing of it meanwhile', async () => {
    const clock = createVirtualClock()
    const stream = new FakeStream()
    const allowance = new Allowance(clock, 100, 10)
    let count = 0
    const pace = { clock, spend: (cost: number) => allowance.spend(cost) }
    openFrameStream(asStream(stream), { bytesMax: 100, pace }, { frame: () => (count += 1), drained() {}, ended() {} })
    stream.arrive(frames(100))
    await clock.advance(10)
    stream.arrive(frames(400))
    await clock.advance(990)
    expect([stream.readStatus, stream.told]).toEqual(['paused', 'wait'])
    expect(count).toBeGreaterThan(90)
    expect(count).toBeLessThan(120)
    await clock.advance(10_000)
    expect([count, stream.readStatus, stream.told]).toEqual([500, 'readable', 'go on'])
  })

  it('bears that the connection of a paused stream closes below it', async () => {
    const clock = createVirtualClock()
    const stream = new FakeStream()
    let count = 0
    openFrameStream(
      asStream(stream),
      { bytesMax: 100, pace: { clock, spend: () => 0 } },
      { frame: () => (count += 1), drained() {}, ended() {} },
    )
    stream.resume = () => {
      throw new Error('Cannot write to a stream that is closed')
    }
    stream.arrive(frames(100))
    await clock.advance(1_000)
    expect(count).toBe(100)
  })

  it('reads frames cut at any place, and stops at one that is too long', async () => {
    const clock = createVirtualClock()
    const bytes = Buffer.concat([frames(3, 70_000), frames(2, 0), frames(1, 100_001)])
    for (const size of [1_000, 4_099, 70_003, bytes.length]) {
      const stream = new FakeStream()
      const lengths: number[] = []
      const ended: string[] = []
      openFrameStream(
        asStream(stream),
        { bytesMax: 100_000, pace: { clock, spend: () => 0 } },
        { frame: (frame) => lengths.push(frame.length), drained() {}, ended: (reason) => ended.push(reason) },
      )
      for (let from = 0; from < bytes.length; from += size) stream.arrive(new Uint8Array(bytes.subarray(from, from + size)))
      await clock.advance(1_000)
      expect(lengths).toEqual([70_000, 70_000, 70_000, 0, 0])
      expect([ended.length, stream.status]).toEqual([1, 'aborted'])
    }
  })

  it('counts what a stream of other frames brings by the lengths before them', async () => {
    const clock = createVirtualClock()
    const stream = new FakeStream()
    const costs: number[] = []
    const heard: Uint8Array[] = []
    const pace = { clock, spend: (cost: number) => (costs.push(cost), 0) }
    streamAtPace(asStream(stream), pace).addEventListener('message', ({ data }) => heard.push(data.subarray()))
    const sent = Buffer.concat([
      Buffer.from([3, 1, 2, 3]),
      Buffer.from([0]),
      Buffer.from([0x80, 0x40]),
      Buffer.alloc(8_192, 9),
      Buffer.from([1, 5]),
    ])
    for (let from = 0; from < sent.length; from += 3) stream.arrive(new Uint8Array(sent.subarray(from, from + 3)))
    await clock.advance(1_000)
    expect(costs).toEqual([3, 0, 8_192, 1].map(costOf))
    expect(Buffer.concat(heard)).toEqual(sent)
  })
})
