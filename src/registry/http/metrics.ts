/** The registry's metrics in Prometheus' text format, named as distribution names its own where both have the same. */

/** Seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60] as const

interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

const kinds = {
  registry_http_requests_total: ['counter', 'Requests by route, method and status.'],
  registry_http_in_flight_requests: ['gauge', 'Requests being answered.'],
  registry_http_received_bytes_total: ['counter', 'Bytes of request bodies, headers left out.'],
  registry_http_sent_bytes_total: ['counter', 'Bytes sent, with headers.'],
  registry_proxy_hits_total: ['counter', 'What the mirror had already, by type.'],
  registry_proxy_misses_total: ['counter', 'What the mirror fetched, by type.'],
  registry_notifications_events_total: ['counter', 'Events by what became of them.'],
  registry_notifications_pending: ['gauge', 'Events that wait to be sent.'],
  registry_collected_total: ['counter', 'What the collector took away, by kind.'],
  registry_collected_bytes_total: ['counter', 'Bytes that the collector freed.'],
} as const

export type MetricName = keyof typeof kinds

export class Metrics {
  readonly #values = new Map<string, number>()
  readonly #durations = new Map<string, Histogram>()

  add(name: MetricName, labels: Readonly<Record<string, string | number>> = {}, by = 1): void {
    const key = name + labelText(labels)
    this.#values.set(key, (this.#values.get(key) ?? 0) + by)
  }

  duration(route: string, seconds: number): void {
    let histogram = this.#durations.get(route)
    if (histogram === undefined) this.#durations.set(route, (histogram = { counts: bounds.map(() => 0), sum: 0, count: 0 }))
    for (const [index, bound] of bounds.entries()) if (seconds <= bound) histogram.counts[index] = (histogram.counts[index] ?? 0) + 1
    histogram.sum += seconds
    histogram.count += 1
  }

  text(): string {
    const lines: string[] = []
    for (const [name, [kind, help]] of Object.entries(kinds)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`)
      for (const [key, value] of this.#values) if (key === name || key.startsWith(`${name}{`)) lines.push(`${key} ${value}`)
    }
    const duration = 'registry_http_request_duration_seconds'
    lines.push(`# HELP ${duration} How long requests took, by route.`, `# TYPE ${duration} histogram`)
    for (const [route, histogram] of this.#durations) {
      const handler = `handler="${route}"`
      for (const [index, bound] of bounds.entries()) lines.push(`${duration}_bucket{${handler},le="${bound}"} ${histogram.counts[index] ?? 0}`)
      lines.push(`${duration}_bucket{${handler},le="+Inf"} ${histogram.count}`, `${duration}_sum{${handler}} ${histogram.sum}`, `${duration}_count{${handler}} ${histogram.count}`)
    }
    return `${lines.join('\n')}\n`
  }
}

/** Labels of ours hold no quotes and no backslashes. */
function labelText(labels: Readonly<Record<string, string | number>>): string {
  const entries = Object.entries(labels)
  return entries.length === 0 ? '' : `{${entries.map(([key, value]) => `${key}="${value}"`).join(',')}}`
}
