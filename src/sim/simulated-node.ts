/** One simulated machine: a runtime whose containers survive the agent, and the real node agent over it. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import { asFault } from '#base/fault.ts'
import type { ContainerConfig } from '#cluster/contract/runtime.ts'
import type { NodeAgent } from '#cluster/node/agent/agent.ts'
import { startNodeAgent } from '#cluster/node/agent/agent.ts'
import { simulatedFiles, simulatedNetwork } from '#cluster/node/simulated/machine.ts'
import type { Program, SimulatedRuntime } from '#cluster/node/simulated/runtime.ts'
import { simulatedRuntime } from '#cluster/node/simulated/runtime.ts'
import type { Link } from './link.ts'
import type { SeededRandom } from './random.ts'

export interface SimulatedNodeOptions {
  readonly name: string
  readonly index: number
  readonly clock: Clock
  readonly random: SeededRandom
  readonly log: Logger
  readonly capacity: Readonly<Record<string, string>>
  readonly program: (config: ContainerConfig) => Program
  /** A new connection for each life of the agent. */
  readonly connect: () => Link
}

export class SimulatedNode {
  readonly name: string
  readonly runtime: SimulatedRuntime
  readonly #options: SimulatedNodeOptions
  readonly #files = simulatedFiles()
  #link: Link | undefined
  #agent: Promise<NodeAgent | undefined> | undefined

  constructor(options: SimulatedNodeOptions) {
    const { clock, random, index, program } = options
    this.name = options.name
    this.#options = options
    this.runtime = simulatedRuntime({
      clock,
      random: random.fork('runtime'),
      addressPrefix: `10.42.${index}.`,
      program,
      latencyMs: { sandbox: 20, create: 10, start: 30, pull: 200 },
    })
  }

  get alive(): boolean {
    return this.#link !== undefined
  }

  get link(): Link | undefined {
    return this.#link
  }

  /** The agent begins (again) over whatever the runtime holds. */
  start(): void {
    if (this.#link !== undefined) return
    const { name, index, clock, random, log, capacity, connect } = this.#options
    const link = connect()
    this.#link = link
    const info = { machineID: name, systemUUID: name, bootID: name, kernelVersion: '6.1', osImage: 'Simulated', kubeletVersion: 'v1.36.0', kubeProxyVersion: 'v1.36.0', operatingSystem: 'linux', architecture: 'amd64' }
    const node = { name, hostname: name, addresses: [`192.0.2.${index + 1}`], labels: {}, port: 10_250, capacity, allocatable: capacity, info, podCidr: `10.42.${index}.0/24` }
    this.#agent = startNodeAgent({
      client: link.client, runtime: this.runtime, files: this.#files, network: simulatedNetwork(), clock, random: random.fork('agent'), log, node,
      folders: { root: '/k', logs: '/logs' },
    }).catch((error: unknown) => {
      // The agent was killed before it had started.
      log.debug({ node: name, err: asFault(error) }, 'the node agent did not start')
      return undefined
    })
  }

  /** The agent dies; what it started runs on. */
  killAgent(): void {
    this.#link?.cut()
    this.#link = undefined
    const agent = this.#agent
    this.#agent = undefined
    // Its tasks end as soon as they notice; a dead process cannot be waited for.
    void agent?.then((running) => running?.close())
  }

  /** The machine goes down and takes all containers along. */
  crash(): void {
    this.killAgent()
    this.runtime.reboot()
  }
}
