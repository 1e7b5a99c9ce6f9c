/** What is written down of each request: metrics by route, and a line of the access log. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '#base/clock.ts'
import type { Logger } from '#base/log.ts'
import type { Metrics } from './metrics.ts'
import { bytesSent } from './send-file.ts'

export interface ObserveParts {
  readonly metrics: Metrics
  readonly clock: Clock
  /** Where the access log goes; undefined: nowhere. */
  readonly accessLog: Logger | undefined
}

export interface Observed {
  /** Known after the route was found, and the caller. */
  route: string
  user: string | undefined
}

/** To be called when a request arrives; the rest is written when its answer has ended. */
export function observe({ metrics, clock, accessLog }: ObserveParts, req: IncomingMessage, res: ServerResponse): Observed {
  const observed: Observed = { route: 'none', user: undefined }
  const startedMs = clock.monotonicMs()
  const { socket } = req
  const [received, sent] = [socket.bytesRead, bytesSent(socket)]
  metrics.add('registry_http_in_flight_requests')
  res.once('close', () => {
    const durationMs = clock.monotonicMs() - startedMs
    metrics.add('registry_http_in_flight_requests', {}, -1)
    metrics.add('registry_http_requests_total', { handler: observed.route, method: req.method ?? '', code: res.statusCode })
    metrics.add('registry_http_received_bytes_total', {}, Math.max(0, socket.bytesRead - received))
    metrics.add('registry_http_sent_bytes_total', {}, Math.max(0, bytesSent(socket) - sent))
    metrics.duration(observed.route, durationMs / 1000)
    accessLog?.info({
      remote: socket.remoteAddress, user: observed.user, method: req.method, url: req.url, status: res.statusCode, durationMs: Math.round(durationMs),
      sentBytes: Math.max(0, bytesSent(socket) - sent), isWhole: res.writableFinished, agent: req.headers['user-agent'],
    }, 'request')
  })
  return observed
}
