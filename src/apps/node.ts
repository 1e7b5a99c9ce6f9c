/** The node process: engine, registry, node agent, service proxy, cluster DNS. Wiring only. */
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { createLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { engineHandler } from '#engine/http/handler.ts'
import { openEngine } from '#engine/open.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { openRegistry } from '#registry/registry.ts'
import { resolveConfig } from './config/config.ts'
import { engineTable } from './config/names.ts'
import { untilTerminated } from './lifecycle/terminated.ts'
import { listenTcp, listenUnix } from './node/listen.ts'
import { registryCredential, registryHosts } from './node/registry-credential.ts'

const { config } = resolveConfig({}, process.env)
const { instance, paths } = config
const log = createLogger({ name: 'node', level: config.logLevel })
const clock = systemClock
const random = systemRandom
const terminated = untilTerminated()

const stack = new AsyncDisposableStack()
const kernel = stack.use(await openKernel({ clock }))
const blobs = await openFileBlobs(join(paths.state, 'blobs'))
const credential = await registryCredential(config, random)
const registry = stack.use(await openRegistry({ root: join(paths.state, 'registry'), blobs, engine: credential, clock, random, logger: log.child({ part: 'registry' }) }))
const engine = stack.use(
  await openEngine({
    kernel,
    blobs,
    otherBlobRoots: [() => registry.roots()],
    insecureRegistries: registryHosts(config),
    localRegistry: { hosts: registryHosts(config), credentials: credential },
    paths: { state: join(paths.state, 'engine'), run: paths.run },
    names: { cgroup: instance.name, table: engineTable(instance), bridge: `${instance.linkPrefix}0` },
    networks: { bridgeSubnet: config.bridgeCidr },
    clock,
    random,
    log: log.child({ part: 'engine' }),
  }),
)
stack.use(await listenTcp(config.registryAddress, config.registryPort, (request, response) => void registry.handle(request, response)))
const docker = engineHandler(engine)
stack.use(await listenUnix(paths.dockerSocket, docker.request, docker.upgrade))
log.info({ docker: paths.dockerSocket, registry: config.registryPort }, 'the engine and the registry are up')

await terminated
await stack.disposeAsync()
log.info({}, 'the node has ended')
process.exit(0)
