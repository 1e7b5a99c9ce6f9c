/** The registry alone, in a process of its own, for `bench/registry.ts`: prints its port. */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { createLogger } from '../src/base/log.ts'
import { systemRandom } from '../src/base/random.ts'
import { realSendfile } from '../src/linux/real/sendfile.ts'
import { openFileBlobs } from '../src/oci/blobs/file-system.ts'
import { openRegistry } from '../src/registry/registry.ts'
import { openFileStorage } from '../src/registry/storage/file-storage.ts'

const [root = ''] = process.argv.slice(2)
const blobs = await openFileBlobs(join(root, 'content'))
const storage = await openFileStorage({ root: join(root, 'registry'), blobs, clock: systemClock, random: systemRandom })
const registry = await openRegistry({ storage, sendfile: realSendfile, clock: systemClock, random: systemRandom, logger: createLogger({ name: 'registry', level: 'warn' }) })
const server = createServer((req, res) => void registry.handle(req, res))
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address !== 'string') process.stdout.write(`${address.port}\n`)
})
