/** One name server per sandbox that is on a network with names: opened, redirected to from 127.0.0.11:53, and closed with it. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Nftables } from '#linux/contract/nftables.ts'
import type { Poller } from '#linux/contract/poller.ts'
import { NameServer } from './name-server.ts'
import type { NamedEndpoint } from './names.ts'
import { redirectDnsScript } from './rules.ts'

export interface SandboxNamesOptions {
  readonly nftables: Nftables
  readonly sockets: Pick<Poller, 'bindBoth'>
  readonly clock: Clock
  readonly logger: Logger
  readonly visible: (containerId: string) => readonly NamedEndpoint[]
  readonly upstreams: (containerId: string) => Promise<readonly string[]>
}

/** Where resolvers look for us; a loopback address, so that it is there in every namespace. */
const address = '127.0.0.11'

export class SandboxNames implements AsyncDisposable {
  readonly #options: SandboxNamesOptions
  readonly #servers = new Map<string, NameServer>()

  constructor(options: SandboxNamesOptions) {
    this.#options = options
  }

  /** Idempotent. Calls for one container must not overlap. */
  async open(containerId: string, netns: string): Promise<void> {
    if (this.#servers.has(containerId)) return
    const { sockets, nftables, visible, upstreams, clock, logger } = this.#options
    const { port, ...bound } = await sockets.bindBoth({ netns, host: address })
    const server = await NameServer.open({ sockets: bound, visible: () => visible(containerId), upstreams: () => upstreams(containerId), clock, logger })
    this.#servers.set(containerId, server)
    try {
      await nftables.apply(redirectDnsScript(port), { netns })
    } catch (error) {
      await this.close(containerId)
      throw error
    }
  }

  /** A name server that is not there is no error. */
  async close(containerId: string): Promise<void> {
    const server = this.#servers.get(containerId)
    this.#servers.delete(containerId)
    await server?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#servers.keys()]) await this.close(id)
  }
}
