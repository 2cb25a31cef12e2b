import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openGroup } from '../replica/group.ts'
import { createHealthWatch } from '../../../src/daemon/health-watch.ts'
import { createMetrics } from '../../../src/daemon/metrics.ts'
import { createNetworkInstruments } from '../../../src/daemon/network-instruments.ts'
import { silentLogger } from '../../../src/core/index.ts'

const thresholds = { driftPercent: 1, lagMilliseconds: 300_000, recoveryMilliseconds: 30_000 }

async function open() {
  const group = await openGroup(['admin', 'writer'])
  const [replica, other] = group.replicas as [(typeof group.replicas)[0], (typeof group.replicas)[0]]
  const told: string[] = []
  const watch = createHealthWatch({
    replica,
    thresholds,
    clock: group.time.clock(),
    logger: silentLogger,
    nameOf: () => 'other',
    deliver: ({ alert, type }) => void told.push(`${Math.round(group.time.elapsed / 1_000)} s: ${type} ${alert.kind}`),
  })
  return {
    group,
    replica,
    other,
    watch,
    told,
    metrics: createMetrics({ replica, watch, version: '1.2.3', network: createNetworkInstruments().registry }),
  }
}

const entry = (text: string) => ({ operations: [{ type: 'append' as const, name: 'memory', entry: { text }, operationId: undefined }] })

test('an instance that is cut off for six minutes is an alert of lag for as long as it lacks what is five minutes old', async () => {
  const { group, other, replica, told, watch } = await open()
  for (const each of [replica, other]) await group.settle(each.startNetwork())
  watch.start(400)
  await group.pass(10_000)
  await group.settle(other.stopNetwork())
  const cut = Math.round(group.time.elapsed / 1_000)
  await group.settle(replica.write(entry('while it was cut off')))
  await group.pass(360_000)
  expect(told).toHaveLength(1)
  const raised = Number.parseInt(told[0] ?? '', 10)
  expect(told[0]).toMatch(/raised lag$/)
  expect(raised - cut).toBeGreaterThanOrEqual(300)
  expect(raised - cut).toBeLessThanOrEqual(311)
  await group.settle(other.startNetwork())
  const back = Math.round(group.time.elapsed / 1_000)
  await group.pass(60_000)
  expect(told).toHaveLength(2)
  expect(told[1]).toMatch(/cleared lag$/)
  expect(Number.parseInt(told[1] ?? '', 10) - back).toBeLessThanOrEqual(40)
  await group.settle(watch.stop())
})

test('a group that writes all the time is in no drift', async () => {
  const { group, other, replica, told, watch } = await open()
  for (const each of [replica, other]) await group.settle(each.startNetwork())
  watch.start(400)
  for (let second = 0; second < 120; second += 1) {
    await group.settle(replica.write(entry(`${second}`)))
    await group.pass(1_000)
    expect(watch.signals.driftPercent ?? 0).toBe(0)
  }
  expect(told).toEqual([])
  await group.settle(watch.stop())
})

test('what is unknown is absent from the metrics, and every metric of the dashboard is there', async () => {
  const { group, metrics, other, replica, watch } = await open()
  await group.settle(replica.write(entry('one')))
  watch.start(400)
  await group.pass(100)
  expect(await metrics.text()).not.toMatch(/^selfsame_lag_seconds /m)
  for (const each of [replica, other]) await group.settle(each.startNetwork())
  await group.pass(15_000)
  const text = await metrics.text()
  expect(text).toMatch(/^selfsame_lag_seconds 0$/m)
  expect(text).toMatch(/^selfsame_recovery_seconds 0\.4$/m)
  expect(text).toMatch(/^selfsame_entries 1$/m)
  expect(text).toMatch(/^selfsame_build_info\{version="1\.2\.3"\} 1$/m)
  const dashboard = readFileSync('config/grafana-dashboard.json', 'utf8')
  const names = new Set(dashboard.match(/\b(selfsame|process|nodejs)_[a-z0-9_]+/g))
  expect(names.size).toBeGreaterThan(8)
  for (const name of names) expect(text).toContain(`# TYPE ${name.replace(/_(count|bucket)$/, '')} `)
  await group.settle(watch.stop())
})
