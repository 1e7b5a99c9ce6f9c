/** `docker update`: changes the limits of a container, running or not. What the runtime refuses changes nothing. */
import { asFault, Fault } from '#base/fault.ts'
import type { ContainerResources, RestartPolicy } from '../contract/containers.ts'
import type { Runtime } from '../contract/runtime.ts'
import { blockIoOf } from './devices.ts'
import { isLive } from './lifecycle.ts'
import type { ContainerRecord } from './record.ts'
import { resourcesOf, updatedResources } from './resources.ts'

export interface UpdateRequest {
  /** Checked already; only what changes. */
  readonly resources: ContainerResources
  readonly restart?: RestartPolicy
}

/** The record as it is afterwards, to be stored by the caller. */
export async function updatedRecord(record: ContainerRecord, { resources: changed, restart }: UpdateRequest, runtime: Pick<Runtime, 'update'>): Promise<ContainerRecord> {
  const { id, spec, lifecycle } = record
  try {
    const resources = updatedResources(spec.resources ?? {}, changed)
    if (restart !== undefined && restart.name !== 'no' && spec.autoRemove === true) throw new Fault('conflict', 'Restart policy cannot be updated because AutoRemove is enabled for the container')
    if (Object.keys(changed).length > 0 && isLive(lifecycle.status)) {
      // cgroup v2 knows swap apart from memory: neither can be written without the other.
      const memory = changed.memorySwapBytes && resources.memoryBytes ? { memoryBytes: resources.memoryBytes } : {}
      await runtime.update(id, resourcesOf({ ...memory, ...changed }, await blockIoOf(changed)))
    }
    return { ...record, spec: { ...spec, resources, ...(restart === undefined ? {} : { restart }) } }
  } catch (error) {
    const fault = asFault(error)
    throw new Fault(fault.code, `Cannot update container ${id}: ${fault.message}`, { cause: error })
  }
}
