/** All controllers of the server process, by name. `apps/` starts them beside the API server; the simulator restarts them at will. */
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Controller } from '../client/controller.ts'
import type { EventRecorder } from '../client/event-recorder.ts'
import { createEventRecorder } from '../client/event-recorder.ts'
import { Informers } from '../client/informers.ts'
import type { Client } from '../contract/client.ts'
import type { ControllerContext } from './context.ts'
import { deploymentController } from './deployment/controller.ts'
import { endpointSliceController } from './endpointslice/controller.ts'
import { garbageCollector } from './garbage-collector/controller.ts'
import type { KubernetesServiceOptions } from './kubernetes-service/controller.ts'
import { kubernetesServiceController } from './kubernetes-service/controller.ts'
import { namespaceController } from './namespace/controller.ts'
import { taintEvictionController } from './node-lifecycle/eviction.ts'
import { nodeLifecycleController } from './node-lifecycle/controller.ts'
import type { NodeLifecycleOptions } from './node-lifecycle/controller.ts'
import { podGarbageController } from './pod-garbage/controller.ts'
import { replicaSetController } from './replicaset/controller.ts'
import { serviceAccountController } from './service-account/controller.ts'
import { systemNamespacesController } from './system-namespaces/controller.ts'

export interface ControllersOptions {
  readonly client: Client
  readonly clock: Clock
  readonly log: Logger
  /** PEM certificates for `kube-root-ca.crt`. */
  readonly caBundle: string
  /** Absent: nobody keeps the `kubernetes` Service (simulation). */
  readonly kubernetesService?: KubernetesServiceOptions
  readonly nodeLifecycle?: NodeLifecycleOptions
}

const makers: Readonly<Record<string, (context: ControllerContext, options: ControllersOptions) => Controller | undefined>> = {
  'system-namespaces': (context) => systemNamespacesController(context),
  'kubernetes-service': (context, { kubernetesService }) => (kubernetesService === undefined ? undefined : kubernetesServiceController(context, kubernetesService)),
  serviceaccount: (context, { caBundle }) => serviceAccountController(context, { caBundle }),
  namespace: (context) => namespaceController(context),
  deployment: (context) => deploymentController(context),
  replicaset: (context) => replicaSetController(context),
  endpointslice: (context) => endpointSliceController(context),
  'garbage-collector': (context) => garbageCollector(context),
  'node-lifecycle': (context, { nodeLifecycle }) => nodeLifecycleController(context, nodeLifecycle),
  'taint-eviction': (context) => taintEvictionController(context),
  'pod-garbage': (context) => podGarbageController(context),
}

const controllerNames: readonly string[] = Object.keys(makers)

export class Controllers implements AsyncDisposable {
  readonly informers: Informers
  readonly #controllers: readonly Controller[]
  readonly #recorders = new Map<string, EventRecorder>()

  /** Starts those in `names` (all, unless told otherwise) over one set of informers. */
  constructor(options: ControllersOptions, names: readonly string[] = controllerNames) {
    const { client, clock, log } = options
    this.informers = new Informers({ client, clock, log })
    const recorder = (component: string): EventRecorder => {
      let made = this.#recorders.get(component)
      if (made === undefined) this.#recorders.set(component, (made = createEventRecorder({ client, clock, log, component })))
      return made
    }
    const context: ControllerContext = { client, clock, log, informers: this.informers, recorder }
    this.#controllers = names.flatMap((name) => makers[name]?.(context, options) ?? [])
    for (const controller of this.#controllers) controller.start()
  }

  /** Nothing waits or is worked on. Timers may still be pending. */
  get idle(): boolean {
    return this.#controllers.every(({ queue }) => queue.idle)
  }

  async close(): Promise<void> {
    // All are told before any is waited for: one that hangs must not keep the others alive.
    await Promise.all([...this.#controllers.map((controller) => controller.close()), this.informers.close()])
    await Promise.all([...this.#recorders.values()].map((recorder) => recorder.flush()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
