/**
 * Clients that count up a number in one ConfigMap, each by reading it and writing it back guarded by its version, over
 * connections that lose requests and answers. No acknowledged count may be lost, and none may be counted twice.
 */
import { isFault } from '#base/fault.ts'
import { ConfigMap } from '#cluster/api/core/v1/config-map.ts'
import type { Client } from '#cluster/contract/client.ts'

export class Counter {
  acknowledged = 0
  /** Writes of which nobody knows whether they happened. */
  unknown = 0
  readonly #ref = { namespace: 'default', name: 'counter' }

  async create(client: Client): Promise<void> {
    await client.create(ConfigMap, { metadata: this.#ref, data: { count: '0' } })
  }

  async increment(client: Client): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      try {
        const current = await client.get(ConfigMap, this.#ref)
        await this.#write(client, { ...current, data: { count: String(Number(current.data?.['count'] ?? '0') + 1) } })
        return
      } catch (error) {
        if (isFault(error, 'conflict')) continue
        if (isFault(error, 'unavailable') || isFault(error, 'timeout')) return
        throw error
      }
    }
  }

  async #write(client: Client, object: ConfigMap): Promise<void> {
    this.unknown += 1
    try {
      await client.update(ConfigMap, object)
      this.acknowledged += 1
      this.unknown -= 1
    } catch (error) {
      // A refusal is an answer: it did not happen.
      if (isFault(error, 'conflict')) this.unknown -= 1
      throw error
    }
  }

  async problem(client: Client): Promise<string | undefined> {
    const count = Number((await client.get(ConfigMap, this.#ref)).data?.['count'] ?? 'NaN')
    const [low, high] = [this.acknowledged, this.acknowledged + this.unknown]
    return count >= low && count <= high ? undefined : `${low} counts were acknowledged, ${this.unknown} are unknown, and the counter shows ${count}`
  }
}
