/**
 * The service proxy: follows Services and EndpointSlices, keeps the kernel's rules equal to what they say, in one transaction
 * per change. No packet passes through this process; killing it leaves the rules in force, and the next start replaces them
 * atomically.
 *
 * The node gets an interface for services (a bridge without ports). It carries the address of the cluster's DNS server, and
 * the route of the service range points to it, so that processes of the node itself reach services too. Behind it stands an
 * unreachable route: no packet to a service or pod address can leave the machine by the default route.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { asFault, isFault } from '#base/fault.ts'
import type { Logger } from '#base/log.ts'
import { TaskGroup } from '#base/task.ts'
import type { Links } from '#linux/contract/links.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import { Service } from '../../api/core/v1/service.ts'
import { EndpointSlice } from '../../api/discovery/v1/endpoint-slice.ts'
import type { Informer } from '../../client/informer.ts'
import { createInformer } from '../../client/informer.ts'
import type { ReadClient } from '../../contract/client.ts'
import { portalsOf } from './portals.ts'
import type { Ruleset, RulesetOptions } from './ruleset.ts'
import { changeScript, removeScript, replaceScript, rulesetOf } from './ruleset.ts'

export interface ServiceProxyOptions {
  readonly client: ReadClient
  readonly links: Links
  readonly nftables: Nftables
  readonly clock: Clock
  readonly log: Logger
  readonly nodeName: string
  readonly serviceCidr: string
  /** This node's pods. */
  readonly podCidr: string
  /** Name of the interface for services, at most 15 bytes, e.g. `berthsvc`. */
  readonly serviceInterface: string
  /** Addresses it carries, e.g. the DNS server's `10.43.0.10`. */
  readonly serviceAddresses: readonly string[]
  /**
   * Interfaces through which pods are reached, which may come later: node ports then work on 127.0.0.1 too. Default `all`,
   * for pods that are each routed over an interface of their own.
   */
  readonly podInterfaces?: readonly string[]
  /** nftables table, e.g. `berth_services`. */
  readonly table: string
  /** See `RulesetOptions`. Default true, which holds for routed pods; for pods on a bridge it is what /proc/sys/net/bridge/bridge-nf-call-iptables says. */
  readonly bridgedTrafficFiltered?: boolean
  /** Informers that others read too; left out: the proxy's own. The owner runs what it passes. */
  readonly informers?: { readonly services: Informer<Service>; readonly slices: Informer<EndpointSlice> }
}

export interface ServiceProxy extends AsyncDisposable {
  readonly services: Informer<Service>
  readonly slices: Informer<EndpointSlice>
  /** Resolves when the kernel's rules say what the caches say now. */
  settled(): Promise<void>
  /** Stops following. The rules stay in force. */
  close(): Promise<void>
}

/** Changes that come together are applied together. */
const gatherMs = 10
const retryMs = 1000
const unreachableMetric = 4278

/** Resolves when the first complete rule set is in force. */
export async function startServiceProxy(options: ServiceProxyOptions): Promise<ServiceProxy> {
  await prepareRoutes(options)
  const proxy = new Proxy(options)
  try {
    await proxy.start()
  } catch (error) {
    await proxy.close()
    throw error
  }
  return proxy
}

/** Undoes what `startServiceProxy` made on the machine. (`berth down` works by the instance's names instead.) */
export async function removeServiceProxy({ links, nftables, table, serviceInterface, serviceCidr, podCidr }: Pick<ServiceProxyOptions, 'links' | 'nftables' | 'table' | 'serviceInterface' | 'serviceCidr' | 'podCidr'>): Promise<void> {
  await nftables.apply(removeScript({ table }))
  await links.deleteLink(serviceInterface)
  for (const destination of [serviceCidr, podCidr]) await links.deleteRoute({ destination, type: 'unreachable', metric: unreachableMetric })
}

async function prepareRoutes({ links, serviceCidr, podCidr, serviceInterface, serviceAddresses }: ServiceProxyOptions): Promise<void> {
  for (const destination of [serviceCidr, podCidr]) await links.route({ destination, type: 'unreachable', metric: unreachableMetric })
  await links.setSysctl('net.ipv4.ip_forward', '1')
  await links.ensureBridge({ name: serviceInterface, addresses: serviceAddresses.map((address) => `${address}/32`) })
  await links.route({ destination: serviceCidr, device: serviceInterface })
}

class Proxy implements ServiceProxy {
  readonly #options: ServiceProxyOptions
  readonly #rules: RulesetOptions
  readonly #tasks: TaskGroup
  readonly services: Informer<Service>
  readonly slices: Informer<EndpointSlice>
  readonly #loopbackReady = new Set<string>()
  /** What the kernel has; undefined before the first transaction and after one that failed. */
  #applied: Ruleset | undefined
  #timer: Timer | undefined
  #applying: Promise<void> = Promise.resolve()

  constructor(options: ServiceProxyOptions) {
    const { client, clock, log, informers, table, serviceCidr, podCidr, bridgedTrafficFiltered = true } = options
    this.#options = options
    this.#rules = { table, serviceCidr, podCidr, bridgedTrafficFiltered }
    this.#tasks = new TaskGroup((error) => log.error({ err: error }, 'a task of the service proxy failed'))
    const onError = (error: unknown): void => log.warn({ err: error }, 'following services failed, will be retried')
    this.services = informers?.services ?? createInformer(Service, { client, clock, onError })
    this.slices = informers?.slices ?? createInformer(EndpointSlice, { client, clock, onError })
  }

  async start(): Promise<void> {
    if (this.#options.informers === undefined) {
      this.#tasks.spawn((signal) => this.services.run(signal))
      this.#tasks.spawn((signal) => this.slices.run(signal))
    }
    await Promise.all([this.services.whenSynced(this.#tasks.signal), this.slices.whenSynced(this.#tasks.signal)])
    await this.#apply()
    this.services.onChange(() => this.#gather())
    this.slices.onChange(() => this.#gather())
  }

  #gather(delayMs = gatherMs): void {
    if (this.#timer !== undefined || this.#tasks.signal.aborted) return
    this.#timer = this.#options.clock.after(
      delayMs,
      () => {
        this.#timer = undefined
        this.#applying = this.#applying.then(() => this.#tryApply())
      },
      { background: true },
    )
  }

  async settled(): Promise<void> {
    await this.#applying
    await this.#tryApply()
  }

  async #tryApply(): Promise<void> {
    if (this.#tasks.signal.aborted) return
    try {
      await this.#apply()
    } catch (error) {
      this.#options.log.error({ err: asFault(error) }, 'the service rules could not be applied; the whole table is written anew in a second')
      this.#applied = undefined
      this.#gather(retryMs)
    }
  }

  async #apply(): Promise<void> {
    const { nftables, nodeName } = this.#options
    const wanted = rulesetOf(portalsOf(this.services.list(), this.slices.list(), { nodeName }))
    const script = this.#applied === undefined ? replaceScript(wanted, this.#rules) : changeScript(this.#applied, wanted, this.#rules)
    if (script !== '') await nftables.apply(script)
    this.#applied = wanted
    await this.#allowLoopback()
  }

  /** 127.0.0.1:NODEPORT: the kernel sends packets from 127.0.0.1 out of an interface only when told so. `guard` keeps foreigners from using it. */
  async #allowLoopback(): Promise<void> {
    const { links, podInterfaces = ['all'], log } = this.#options
    for (const name of podInterfaces) {
      if (this.#loopbackReady.has(name)) continue
      try {
        await links.setSysctl(`net/ipv4/conf/${name}/route_localnet`, '1')
        this.#loopbackReady.add(name)
      } catch (error) {
        if (!isFault(error)) throw error
        log.debug({ err: error, interface: name }, 'node ports on 127.0.0.1 wait for the pods’ interface')
      }
    }
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#tasks.close()
    await this.#applying
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

