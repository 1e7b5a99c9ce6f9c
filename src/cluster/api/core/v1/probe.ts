/** Probes and lifecycle hooks of containers, core/v1 (Kubernetes documentation, "Pod Lifecycle"). */
import type { Out } from '#schema/vocabulary.ts'
import { int32, int64, intOrString, listOf, object, oneOf, string, within } from '#schema/vocabulary.ts'
import { signal } from './signal.ts'

export const execAction = object(
  'core.v1.ExecAction',
  {
    command: listOf(string()).omitEmpty().proto(1),
  },
)
export interface ExecAction extends Out<typeof execAction> {}

export const httpHeader = object(
  'core.v1.HTTPHeader',
  {
    name: string().proto(1),
    value: string().always().proto(2),
  },
)
export interface HTTPHeader extends Out<typeof httpHeader> {}

export const httpGetAction = object(
  'core.v1.HTTPGetAction',
  {
    path: string().omitEmpty().default('/').proto(1),
    port: intOrString().proto(2),
    host: string().omitEmpty().proto(3),
    scheme: oneOf('HTTP', 'HTTPS').omitEmpty().default('HTTP').proto(4),
    httpHeaders: listOf(httpHeader).omitEmpty().proto(5),
    protocol: oneOf('HTTP1', 'HTTP2').optional().proto(6),
  },
)
export interface HTTPGetAction extends Out<typeof httpGetAction> {}

export const tcpSocketAction = object(
  'core.v1.TCPSocketAction',
  {
    port: intOrString().proto(1),
    host: string().omitEmpty().proto(2),
  },
)
export interface TCPSocketAction extends Out<typeof tcpSocketAction> {}

export const grpcAction = object(
  'core.v1.GRPCAction',
  {
    port: int32(1, 65535).proto(1),
    service: string().optional().default('').proto(2),
    mode: oneOf('Plaintext', 'TLS').optional().proto(3),
  },
)
export interface GRPCAction extends Out<typeof grpcAction> {}

export const sleepAction = object(
  'core.v1.SleepAction',
  {
    seconds: int64().proto(1),
  },
)
export interface SleepAction extends Out<typeof sleepAction> {}

export const probe = object(
  'core.v1.Probe',
  {
    ...within(1, {
      exec: execAction.optional().proto(1),
      httpGet: httpGetAction.optional().proto(2),
      tcpSocket: tcpSocketAction.optional().proto(3),
      grpc: grpcAction.optional().proto(4),
    }),
    initialDelaySeconds: int32(0).omitEmpty().proto(2),
    timeoutSeconds: int32(0).omitEmpty().default(1).proto(3),
    periodSeconds: int32(0).omitEmpty().default(10).proto(4),
    successThreshold: int32(0).omitEmpty().default(1).proto(5),
    failureThreshold: int32(0).omitEmpty().default(3).proto(6),
    terminationGracePeriodSeconds: int64(1).optional().proto(7),
  },
)
export interface Probe extends Out<typeof probe> {}

export const lifecycleHandler = object(
  'core.v1.LifecycleHandler',
  {
    exec: execAction.optional().proto(1),
    httpGet: httpGetAction.optional().proto(2),
    tcpSocket: tcpSocketAction.optional().proto(3),
    sleep: sleepAction.optional().proto(4),
  },
)
export interface LifecycleHandler extends Out<typeof lifecycleHandler> {}

export const lifecycle = object(
  'core.v1.Lifecycle',
  {
    postStart: lifecycleHandler.optional().proto(1),
    preStop: lifecycleHandler.optional().proto(2),
    stopSignal: signal().optional().proto(3),
  },
)
export interface Lifecycle extends Out<typeof lifecycle> {}
