/** A process for tests: holds the lock of the home at `argv[2]` until it is killed. It keeps nothing of the lock and collects its garbage, as a careless caller would. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { lockHome } from '../../../src/storage/index.ts'

lockHome(process.argv[2] ?? '')
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
collectGarbage()
process.stdout.write('locked\n')
setInterval(() => {}, 60_000)
