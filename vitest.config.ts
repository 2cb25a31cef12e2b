/**
 * The test projects. `unit` and `contract` share the machine; `sim` (many engines under one seed, processor-bound) and
 * `e2e` (real daemons, real deadlines) come after them, one after the other, so that neither is slowed into a false failure.
 */
import { defineConfig } from 'vitest/config'

const seconds = 1_000

export default defineConfig({
  test: {
    pool: 'forks',
    reporters: ['default'],
    setupFiles: ['test/seed.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 30 * seconds, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: 'contract', include: ['test/contract/**/*.test.ts'], testTimeout: 30 * seconds, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: 'sim', include: ['test/{sim,power-loss}/**/*.test.ts'], testTimeout: 300 * seconds, sequence: { groupOrder: 1 } },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300 * seconds,
          hookTimeout: 300 * seconds,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
