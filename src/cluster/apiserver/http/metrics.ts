/** `/metrics` in Prometheus' text format, with upstream's names (https://kubernetes.io/docs/reference/instrumentation/metrics/). */
import type { Api } from '../api.ts'

const durationBucketsSeconds = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 5, 10, 30, 60] as const

interface Histogram {
  readonly counts: number[]
  sum: number
  count: number
}

export interface RequestLabels {
  readonly verb: string
  readonly group: string
  readonly version: string
  readonly resource: string
  readonly subresource: string
}

export interface Metrics {
  inFlight: number
  /** Watches are counted; how long they stay open says nothing. */
  observe(labels: RequestLabels, code: number, seconds: number): void
  render(api: Api): string
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, '_')}"`).join(',')
}

/** Label sets are bounded: only resources that exist are counted by name. */
export function createMetrics(): Metrics {
  const requests = new Map<string, number>()
  const durations = new Map<string, Histogram>()
  return {
    inFlight: 0,
    observe(labels, code, seconds) {
      const counted = labelText({ ...labels, code: String(code) })
      requests.set(counted, (requests.get(counted) ?? 0) + 1)
      if (labels.verb === 'WATCH') return
      const timed = labelText({ ...labels })
      let histogram = durations.get(timed)
      if (histogram === undefined) {
        histogram = { counts: durationBucketsSeconds.map(() => 0), sum: 0, count: 0 }
        durations.set(timed, histogram)
      }
      const bucket = durationBucketsSeconds.findIndex((bound) => seconds <= bound)
      if (bucket >= 0) histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1
      histogram.sum += seconds
      histogram.count += 1
    },
    render(api) {
      const lines = ['# TYPE apiserver_request_total counter']
      for (const [labels, value] of requests) lines.push(`apiserver_request_total{${labels}} ${value}`)
      lines.push('# TYPE apiserver_request_duration_seconds histogram')
      for (const [labels, { counts, sum, count }] of durations) {
        let below = 0
        counts.forEach((value, index) => {
          below += value
          lines.push(`apiserver_request_duration_seconds_bucket{${labels},le="${durationBucketsSeconds[index]}"} ${below}`)
        })
        lines.push(`apiserver_request_duration_seconds_bucket{${labels},le="+Inf"} ${count}`)
        lines.push(`apiserver_request_duration_seconds_sum{${labels}} ${sum}`, `apiserver_request_duration_seconds_count{${labels}} ${count}`)
      }
      lines.push('# TYPE apiserver_current_inflight_requests gauge', `apiserver_current_inflight_requests ${this.inFlight}`)
      lines.push('# TYPE apiserver_storage_objects gauge', '# TYPE apiserver_registered_watchers gauge')
      for (const { group, resource, objects, watchers } of api.statistics()) {
        const name = group === '' ? resource : `${resource}.${group}`
        lines.push(`apiserver_storage_objects{resource="${name}"} ${objects}`, `apiserver_registered_watchers{resource="${name}"} ${watchers}`)
      }
      const { rss, heapUsed } = process.memoryUsage()
      lines.push('# TYPE process_resident_memory_bytes gauge', `process_resident_memory_bytes ${rss}`, '# TYPE nodejs_heap_size_used_bytes gauge', `nodejs_heap_size_used_bytes ${heapUsed}`)
      return `${lines.join('\n')}\n`
    },
  }
}
