/** A registry by itself, `berth registry serve`: any number of them may run behind one address over one storage. Wiring only. */
import { join } from 'node:path'
import { hostname } from 'node:os'
import { systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { createLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { realSendfile } from '#linux/real/sendfile.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { openRegistry } from '#registry/registry.ts'
import type { RegistryStorage } from '#registry/storage/contract.ts'
import { openFileStorage } from '#registry/storage/file-storage.ts'
import { untilTerminated } from '../lifecycle/terminated.ts'
import { listenTcp } from '../node/listen.ts'
import { readRegistrySettings } from './settings.ts'
import type { RegistrySettings } from './settings.ts'

const usualAddress = { host: '127.0.0.1', port: 5000 }

async function storageOf({ s3, folder }: RegistrySettings): Promise<RegistryStorage> {
  const ports = { clock: systemClock, random: systemRandom }
  if (s3 !== undefined) {
    // Only who wants S3 pays for its client.
    const [{ openS3Objects }, { openObjectStorage }] = await Promise.all([import('#registry/storage/objects/s3-objects.ts'), import('#registry/storage/objects/object-storage.ts')])
    return openObjectStorage({ objects: await openS3Objects(s3), ...ports })
  }
  if (folder === undefined) throw new Fault('invalidArgument', 'the settings name no storage: expected storage.folder or storage.s3')
  return await openFileStorage({ root: join(folder, 'registry'), blobs: await openFileBlobs(join(folder, 'content')), ...ports })
}

/** Serves until the process is told to end. `path` is that of its settings (`settings.ts`). */
export async function serveRegistry(path: string): Promise<number> {
  const settings = readRegistrySettings(path)
  const terminated = untilTerminated()
  const log = createLogger({ name: 'registry', level: 'info' })
  await using stack = new AsyncDisposableStack()
  const storage = stack.use(await storageOf(settings))
  const { host, port } = settings.address ?? usualAddress
  const registry = stack.use(await openRegistry({
    ...settings.modes, storage, sendfile: realSendfile, clock: systemClock, random: systemRandom, logger: log, instance: `${hostname()}:${port}`,
    ...(settings.logsRequests ? { accessLog: log.child({ part: 'access' }) } : {}),
  }))
  stack.use(await listenTcp(host, port, (request, response) => void registry.handle(request, response), settings.tls))
  log.info({ address: `${host}:${port}`, tls: settings.tls !== undefined, storage: settings.s3 === undefined ? settings.folder : `s3://${settings.s3.bucket}/${settings.s3.prefix ?? ''}` }, 'the registry serves')
  await terminated
  return 0
}
