/** The node process: engine, registry, node agent, service proxy, cluster DNS. Wiring only. */
import { join } from 'node:path'
import { systemClock } from '#base/clock.ts'
import { Fault } from '#base/fault.ts'
import { createLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { EndpointSlice } from '#cluster/api/discovery/v1/endpoint-slice.ts'
import { Service } from '#cluster/api/core/v1/service.ts'
import { createHttpClient } from '#cluster/client/http.ts'
import { Informers } from '#cluster/client/informers.ts'
import { startClusterDns } from '#cluster/dataplane/dns/server.ts'
import { startServiceProxy } from '#cluster/dataplane/proxy/proxy.ts'
import { startNodeAgent } from '#cluster/node/agent/agent.ts'
import { startKubeletServer } from '#cluster/node/http/kubelet-server.ts'
import { realNodeFiles } from '#cluster/node/real/files.ts'
import { realNodeNetwork } from '#cluster/node/real/network.ts'
import { engineHandler, engineServerOptions } from '#engine/http/handler.ts'
import { openEngine } from '#engine/open.ts'
import { mappingOfOption } from '#engine/userns/subordinate-ids.ts'
import { openPodRuntime } from '#engine/pods/pod-runtime.ts'
import { openKernel } from '#linux/real/kernel.ts'
import { realSendfile } from '#linux/real/sendfile.ts'
import { openFileBlobs } from '#oci/blobs/file-system.ts'
import { openRegistry } from '#registry/registry.ts'
import { openFileStorage } from '#registry/storage/file-storage.ts'
import { resolveConfig } from './config/config.ts'
import { clusterDomain, dnsAddress } from './config/addresses.ts'
import { engineTable, podTable, serviceTable } from './config/names.ts'
import { version } from './config/version.ts'
import { settleSoon } from './lifecycle/settle.ts'
import { untilTerminated } from './lifecycle/terminated.ts'
import { listenTcp, listenUnix, noticing } from './node/listen.ts'
import { nodeFacts, upstreamResolvers } from './node/node-facts.ts'
import { nodeIdentity } from './node/identity.ts'
import { registryCredential, registryHosts } from './node/registry-credential.ts'
import { readRegistrySettings } from './registry/settings.ts'

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
const storage = stack.use(await openFileStorage({ root: join(paths.state, 'registry'), blobs, clock, random }))
const usernsMapping = await mappingOfOption(config.usernsRemap)
const settings = readRegistrySettings(paths.registryFile)
if (settings.address !== undefined || settings.s3 !== undefined || settings.folder !== undefined) throw new Fault('invalidArgument', `${paths.registryFile}: address and storage are for 'berth registry serve': this registry shares the engine's blobs`)
const registry = stack.use(await openRegistry({
  ...settings.modes, storage, sendfile: realSendfile, engine: credential, clock, random, logger: log.child({ part: 'registry' }), instance: config.nodeName,
  ...(settings.logsRequests ? { accessLog: log.child({ part: 'registry-access' }) } : {}),
  // The engine's collector knows who needs which blob, images and repositories alike.
  collect: { ...settings.modes.collect, blobs: async () => 0 },
}))
const engine = stack.use(
  await openEngine({
    kernel,
    blobs,
    otherBlobRoots: [() => registry.roots()],
    registries: { folders: config.paths.registryFolders, mirrors: config.registryMirrors, insecure: [...config.insecureRegistries, ...registryHosts(config)] },
    localRegistry: { hosts: registryHosts(config), credentials: credential },
    paths: { state: join(paths.state, 'engine'), run: paths.run },
    names: { cgroup: instance.name, table: engineTable(instance), bridge: `${instance.linkPrefix}0` },
    networks: { bridgeSubnet: config.bridgeCidr },
    ...(usernsMapping === undefined ? {} : { usernsMapping }),
    ...(config.layers === 'auto' ? {} : { layerForm: config.layers }),
    clock,
    random,
    log: log.child({ part: 'engine' }),
  }),
)
stack.use(await listenTcp(config.registryAddress, config.registryPort, (request, response) => void registry.handle(request, response), settings.tls))
const settling = settleSoon({ clock, log, trimMemory: () => kernel.trimMemory() })
const docker = noticing(engineHandler(engine), () => settling.busy())
stack.use(await listenUnix(paths.dockerSocket, { ...docker, server: engineServerOptions }))
log.info({ docker: paths.dockerSocket, registry: config.registryPort }, 'the engine and the registry are up')

const runtime = stack.use(
  await openPodRuntime({
    containers: engine.containers,
    images: engine.images,
    runtime: engine.runtime,
    kernel,
    version,
    stateDir: join(paths.state, 'engine'),
    runDir: paths.run,
    linkPrefix: instance.linkPrefix,
    table: podTable(instance),
    podCidr: config.podCidr,
    clusterCidr: instance.clusterCidr,
    clock,
    random,
    log: log.child({ part: 'pods' }),
  }),
)
const identity = await nodeIdentity(config, clock)
const client = stack.use(createHttpClient({ server: `https://127.0.0.1:${config.apiPort}`, ca: identity.authority, clientCertificate: () => ({ cert: identity.certificate, key: identity.key }), clock, userAgent: 'berth-node' }))
const informers = stack.use(new Informers({ client, clock, log: log.child({ part: 'informers' }) }))
const proxy = stack.use(
  await startServiceProxy({
    client,
    links: kernel.links,
    nftables: kernel.nftables,
    clock,
    log: log.child({ part: 'proxy' }),
    nodeName: config.nodeName,
    serviceCidr: config.serviceCidr,
    podCidr: config.podCidr,
    serviceInterface: `${instance.linkPrefix}-svc`,
    serviceAddresses: [dnsAddress(config)],
    table: serviceTable(instance),
    informers: { services: informers.of(Service), slices: informers.of(EndpointSlice) },
  }),
)
stack.use(
  await startClusterDns({
    services: proxy.services,
    slices: proxy.slices,
    clock,
    random,
    log: log.child({ part: 'dns' }),
    domain: clusterDomain,
    addresses: [dnsAddress(config)],
    reverseCidrs: [config.serviceCidr, instance.clusterCidr],
    upstreams: upstreamResolvers(),
  }),
)
const agent = stack.use(
  await startNodeAgent({
    client,
    runtime,
    files: realNodeFiles(kernel.mounts),
    network: realNodeNetwork,
    clock,
    random,
    log: log.child({ part: 'agent' }),
    node: nodeFacts(config, await kernel.probe()),
    folders: { root: join(paths.state, 'kubelet'), logs: join(paths.logs, 'pods') },
    clusterDns: { addresses: [dnsAddress(config)], domain: clusterDomain },
    services: proxy.services,
  }),
)
stack.use(await startKubeletServer({ agent, runtime, clock, log: log.child({ part: 'kubelet' }), port: config.kubeletPort, tls: { key: identity.key, certificate: identity.certificate, clientAuthority: identity.authority } }))
log.info({ node: config.nodeName, kubelet: config.kubeletPort }, 'the node agent, the service proxy and cluster DNS are up')
settling.busy()

await terminated
await stack.disposeAsync()
log.info({}, 'the node has ended')
process.exit(0)
