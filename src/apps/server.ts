/** The server process: store, API server, controllers, scheduler. Wiring only. */
import { join } from 'node:path'
import { sleep, systemClock } from '#base/clock.ts'
import { isFault } from '#base/fault.ts'
import { createLogger } from '#base/log.ts'
import { systemRandom } from '#base/random.ts'
import { TaskGroup } from '#base/task.ts'
import { startApiServer } from '#cluster/apiserver/server.ts'
import { writeKubeconfig } from '#cluster/apiserver/pki/kubeconfig.ts'
import { openPki } from '#cluster/apiserver/pki/files.ts'
import { allKinds, groupOrder } from '#cluster/api/index.ts'
import { Controllers } from '#cluster/controllers/index.ts'
import { Scheduler } from '#cluster/scheduler/scheduler.ts'
import { openSqliteStore } from '#cluster/store/sqlite/store.ts'
import { advertisedAddress, apiServiceAddress } from './config/addresses.ts'
import { resolveConfig } from './config/config.ts'
import { nodeCertificateName, nodeCertificateRequest } from './config/node-certificate.ts'
import { settleSoon } from './lifecycle/settle.ts'
import { untilTerminated } from './lifecycle/terminated.ts'

const { config } = resolveConfig({}, process.env)
const log = createLogger({ name: 'server', level: config.logLevel })
const clock = systemClock
const random = systemRandom
const terminated = untilTerminated()
const advertised = advertisedAddress(config)

const [pki, store] = await Promise.all([
  openPki({ folder: config.paths.pki, serverNames: [advertised, config.nodeName], serviceAddress: apiServiceAddress(config), clock, random }),
  openSqliteStore({ folder: join(config.paths.state, 'store'), clock }),
])
await pki.certificate(nodeCertificateName, nodeCertificateRequest(config))
const server = await startApiServer({
  store,
  pki,
  kinds: allKinds,
  groupOrder,
  clock,
  random,
  log: log.child({ part: 'apiserver' }),
  ranges: { serviceCidr: config.serviceCidr, nodePorts: [30_000, 32_767] },
  listen: [{ host: '127.0.0.1', port: config.apiPort }],
})
await writeKubeconfig(config.paths.kubeconfig, { server: `https://127.0.0.1:${config.apiPort}`, authority: pki.authority.certificate, client: pki.admin })

const tasks = new TaskGroup((error) => log.error({ err: error }, 'a task of the server failed'))
// The advertised address may be the pod bridge's, which the node process makes: it is listened on as soon as it is there.
tasks.spawn(async (signal) => {
  for (;;) {
    try {
      return await server.listen({ host: advertised, port: config.apiPort })
    } catch (error) {
      if (!isFault(error, 'unavailable')) throw error
      await sleep(clock, 50, signal)
    }
  }
})
const controllers = new Controllers({
  client: server.client,
  clock,
  log: log.child({ part: 'controllers' }),
  caBundle: pki.authority.certificate,
  kubernetesService: { serviceIp: apiServiceAddress(config), advertiseAddresses: [advertised], port: config.apiPort },
})
const scheduler = new Scheduler({ client: server.client, informers: controllers.informers, clock, random, log: log.child({ part: 'scheduler' }) })
log.info({ api: server.addresses, advertised }, 'the server is up')
settleSoon({ clock, log })

await terminated
await tasks.close()
await scheduler[Symbol.asyncDispose]()
await controllers.close()
await server.close()
await store.close()
log.info({}, 'the server has ended')
process.exit(0)
