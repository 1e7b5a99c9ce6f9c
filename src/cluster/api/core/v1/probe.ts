/** Probes and lifecycle hooks of containers, core/v1 (Kubernetes documentation, "Pod Lifecycle"). */
import type { Out } from '#schema/vocabulary.ts'
import { int32, int64, intOrString, listOf, object, oneOf, string, within } from '#schema/vocabulary.ts'
import { signal } from './signal.ts'

export const execAction = object(
  'core.v1.ExecAction',
  {
    command: listOf(string()).omitEmpty().proto(1).doc('Program and arguments; no shell.'),
  },
  { doc: 'Runs a command in the container; exit code 0 is success.' },
)
export interface ExecAction extends Out<typeof execAction> {}

export const httpHeader = object(
  'core.v1.HTTPHeader',
  {
    name: string().proto(1).doc('Name of the header.'),
    value: string().always().proto(2).doc('Value of the header.'),
  },
  { doc: 'A header of the request.' },
)
export interface HTTPHeader extends Out<typeof httpHeader> {}

export const httpGetAction = object(
  'core.v1.HTTPGetAction',
  {
    path: string().omitEmpty().default('/').proto(1).doc('Path to ask for.'),
    port: intOrString().proto(2).doc('Port number or name.'),
    host: string().omitEmpty().proto(3).doc('Host to ask; the pod\'s address unless given.'),
    scheme: oneOf('HTTP', 'HTTPS').omitEmpty().default('HTTP').proto(4).doc('HTTP or HTTPS; certificates are not checked.'),
    httpHeaders: listOf(httpHeader).omitEmpty().proto(5).doc('Headers to send.'),
    protocol: oneOf('HTTP1', 'HTTP2').optional().proto(6),
  },
  { doc: 'Makes an HTTP request; a status from 200 to 399 is success.' },
)
export interface HTTPGetAction extends Out<typeof httpGetAction> {}

export const tcpSocketAction = object(
  'core.v1.TCPSocketAction',
  {
    port: intOrString().proto(1).doc('Port number or name.'),
    host: string().omitEmpty().proto(2).doc('Host to connect to; the pod\'s address unless given.'),
  },
  { doc: 'Opens a TCP connection.' },
)
export interface TCPSocketAction extends Out<typeof tcpSocketAction> {}

export const grpcAction = object(
  'core.v1.GRPCAction',
  {
    port: int32(1, 65535).proto(1).doc('Port of the gRPC service.'),
    service: string().optional().default('').proto(2).doc('Name to ask the health service for.'),
    mode: oneOf('Plaintext', 'TLS').optional().proto(3),
  },
  { doc: 'Asks the gRPC health service.' },
)
export interface GRPCAction extends Out<typeof grpcAction> {}

export const sleepAction = object(
  'core.v1.SleepAction',
  {
    seconds: int64().proto(1).doc('Seconds to wait.'),
  },
  { doc: 'Waits.' },
)
export interface SleepAction extends Out<typeof sleepAction> {}

export const probe = object(
  'core.v1.Probe',
  {
    ...within(1, {
      exec: execAction.optional().proto(1).doc('Runs a command in the container.'),
      httpGet: httpGetAction.optional().proto(2).doc('Makes an HTTP request.'),
      tcpSocket: tcpSocketAction.optional().proto(3).doc('Opens a TCP connection.'),
      grpc: grpcAction.optional().proto(4).doc('Asks the gRPC health service.'),
    }),
    initialDelaySeconds: int32(0).omitEmpty().proto(2).doc('Seconds after the start before the first try.'),
    timeoutSeconds: int32(0).omitEmpty().default(1).proto(3).doc('Seconds after which a try has failed.'),
    periodSeconds: int32(0).omitEmpty().default(10).proto(4).doc('Seconds between tries.'),
    successThreshold: int32(0).omitEmpty().default(1).proto(5).doc('Successes in a row to count as healthy.'),
    failureThreshold: int32(0).omitEmpty().default(3).proto(6).doc('Failures in a row to count as failed.'),
    terminationGracePeriodSeconds: int64(1).optional().proto(7).doc('Grace when this probe has the container restarted.'),
  },
  { doc: 'A check that is repeated on a container. It has exactly one handler.' },
)
export interface Probe extends Out<typeof probe> {}

export const lifecycleHandler = object(
  'core.v1.LifecycleHandler',
  {
    exec: execAction.optional().proto(1).doc('Runs a command in the container.'),
    httpGet: httpGetAction.optional().proto(2).doc('Makes an HTTP request.'),
    tcpSocket: tcpSocketAction.optional().proto(3).doc('No longer of use.'),
    sleep: sleepAction.optional().proto(4).doc('Waits.'),
  },
  { doc: 'One action: exactly one of its fields.' },
)
export interface LifecycleHandler extends Out<typeof lifecycleHandler> {}

export const lifecycle = object(
  'core.v1.Lifecycle',
  {
    postStart: lifecycleHandler.optional().proto(1).doc('Runs right after the start.'),
    preStop: lifecycleHandler.optional().proto(2).doc('Runs before the container is asked to end, within the grace period.'),
    stopSignal: signal().optional().proto(3).doc('Signal that asks the container to end.'),
  },
  { doc: 'What runs around the life of a container.' },
)
export interface Lifecycle extends Out<typeof lifecycle> {}
