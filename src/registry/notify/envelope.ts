/** Events in the form of distribution ("Registry notifications"): what webhooks made for it understand. */
import { rfc3339Nano } from '#base/clock.ts'
import type { RegistryEvent } from '../http/call.ts'

export const envelopeType = 'application/vnd.docker.distribution.events.v2+json'

/** Who did it, from where, and at which registry. */
export interface EventSource {
  readonly id: string
  readonly timeNs: bigint
  readonly user: string | undefined
  readonly remote: string
  readonly host: string
  readonly method: string
  readonly userAgent: string
  readonly instance: string
}

export function eventJson(event: RegistryEvent, source: EventSource): object {
  const { repository, digest, tag, mediaType, sizeBytes } = event
  const kind = mediaType === undefined || mediaType === 'application/octet-stream' ? 'blobs' : 'manifests'
  return {
    id: source.id,
    timestamp: rfc3339Nano(source.timeNs),
    action: event.action,
    target: {
      ...(mediaType === undefined ? {} : { mediaType }),
      ...(sizeBytes === undefined ? {} : { size: sizeBytes, length: sizeBytes }),
      ...(digest === undefined ? {} : { digest }),
      repository,
      ...(digest === undefined || mediaType === undefined ? {} : { url: `http://${source.host}/v2/${repository}/${kind}/${digest}` }),
      ...(tag === undefined ? {} : { tag }),
    },
    request: { id: source.id, addr: source.remote, host: source.host, method: source.method, useragent: source.userAgent },
    actor: source.user === undefined ? {} : { name: source.user },
    source: { addr: source.instance, instanceID: source.instance },
  }
}
