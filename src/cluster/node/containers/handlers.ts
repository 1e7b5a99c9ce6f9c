/** Carries out probes and lifecycle hooks: exec in the container, HTTP, TCP, gRPC, sleep. Messages as `kubectl describe` shows them upstream. */
import { sleep } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { asFault, Fault, isFault } from '#base/fault.ts'
import type { Container, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { LifecycleHandler, Probe } from '../../api/core/v1/probe.ts'
import type { PodRuntime } from '../../contract/runtime.ts'
import type { HttpRequest, NodeNetwork } from '../ports.ts'

export interface HandlerContext {
  readonly runtime: PodRuntime
  readonly network: NodeNetwork
  readonly clock: Clock
  readonly container: Container | EphemeralContainer
  readonly containerId: string
  /** Where HTTP, TCP and gRPC go unless the handler names a host. */
  readonly podIp: string
}

export interface Outcome {
  readonly ok: boolean
  readonly message: string
}

export async function runProbe(probe: Probe, context: HandlerContext): Promise<Outcome> {
  const timeoutMs = Math.max(1, probe.timeoutSeconds) * 1000
  try {
    if (probe.exec !== undefined) {
      const { exitCode, stdout, stderr } = await context.runtime.runCommand(context.containerId, probe.exec.command ?? [], { timeoutMs, maxOutputBytes: 10 * 1024 })
      return { ok: exitCode === 0, message: Buffer.concat([stdout, stderr]).toString('utf8').trim() || `command exited with ${exitCode}` }
    }
    if (probe.httpGet !== undefined) {
      const { status, body } = await context.network.httpGet(httpRequest(probe.httpGet, context, timeoutMs))
      const ok = status >= 200 && status < 400
      return { ok, message: ok ? body : `HTTP probe failed with statuscode: ${status}` }
    }
    if (probe.tcpSocket !== undefined) {
      await context.network.connect({ host: probe.tcpSocket.host ?? context.podIp, port: portNumber(probe.tcpSocket.port, context.container), timeoutMs })
      return { ok: true, message: '' }
    }
    if (probe.grpc !== undefined) {
      const status = await context.network.grpcHealth({ host: context.podIp, port: probe.grpc.port, service: probe.grpc.service ?? '', timeoutMs })
      return { ok: status === 1, message: status === 1 ? 'service healthy' : `service unhealthy (responded with "${['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'][status] ?? status}")` }
    }
    return { ok: false, message: 'the probe names no action' }
  } catch (error) {
    const fault = asFault(error)
    return { ok: false, message: isFault(fault, 'timeout') && probe.exec !== undefined ? `command timed out: ${fault.message}` : fault.message }
  }
}

/** Rejects when the hook fails. */
export async function runHook(handler: LifecycleHandler, context: HandlerContext, timeoutMs: number): Promise<void> {
  const limitMs = Math.max(1000, timeoutMs)
  if (handler.exec !== undefined) {
    const { exitCode, stderr } = await context.runtime.runCommand(context.containerId, handler.exec.command ?? [], { timeoutMs: limitMs, maxOutputBytes: 10 * 1024 })
    if (exitCode !== 0) throw new Fault('internal', `command '${(handler.exec.command ?? []).join(' ')}' exited with ${exitCode}: ${stderr.toString('utf8').trim()}`)
    return
  }
  if (handler.httpGet !== undefined) {
    const { status } = await context.network.httpGet(httpRequest(handler.httpGet, context, limitMs))
    if (status < 200 || status >= 400) throw new Fault('internal', `HTTP hook failed with statuscode: ${status}`)
    return
  }
  if (handler.tcpSocket !== undefined) return context.network.connect({ host: handler.tcpSocket.host ?? context.podIp, port: portNumber(handler.tcpSocket.port, context.container), timeoutMs: limitMs })
  if (handler.sleep !== undefined) return sleep(context.clock, Math.min(limitMs, handler.sleep.seconds * 1000))
  throw new Fault('invalidArgument', 'the hook names no action')
}

function httpRequest(action: NonNullable<Probe['httpGet']>, { container, podIp }: HandlerContext, timeoutMs: number): HttpRequest {
  const { path, port, host, scheme, httpHeaders = [] } = action
  return { scheme, host: host === undefined || host === '' ? podIp : host, port: portNumber(port, container), path: path.startsWith('/') ? path : `/${path}`, headers: httpHeaders, timeoutMs }
}

function portNumber(port: number | string, container: Container | EphemeralContainer): number {
  if (typeof port === 'number') return port
  const named = (container.ports ?? []).find(({ name }) => name === port)
  if (named !== undefined) return named.containerPort
  const parsed = Number(port)
  if (Number.isInteger(parsed) && parsed > 0) return parsed
  throw new Fault('invalidArgument', `the container has no port named '${port}'`)
}
