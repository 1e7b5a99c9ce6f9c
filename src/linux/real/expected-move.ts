/**
 * The wait before the first move of a process between cgroups, begun ahead of it. Writers of `cgroup.procs` take a lock that keeps all forks
 * and exits out (cgroup_threadgroup_rwsem); it is made cheap for those by an RCU grace period before a writer's turn, unless another
 * writer's was just now. So we take a turn that moves nothing: the main thread into the group where it is.
 */
import { writeFile } from 'node:fs/promises'
import { isFault, systemErrorCode } from '#base/fault.ts'
import type { KernelThread } from './thread.ts'

export class ExpectedMove {
  readonly #thread: KernelThread
  #turn: Promise<void> | undefined

  constructor(thread: KernelThread) {
    this.#thread = thread
  }

  begin(): void {
    this.#turn ??= this.#take().finally(() => (this.#turn = undefined))
  }

  /** A thread of the pool waits in the kernel. Where it cannot (no permission, the room is closing), the move itself waits, as it would without us. */
  async #take(): Promise<void> {
    try {
      await writeFile(await this.#thread.call('ownGroupFile'), String(process.pid))
    } catch (error) {
      if (systemErrorCode(error) === undefined && !isFault(error)) throw error
    }
  }

  async ended(): Promise<void> {
    await this.#turn
  }
}
