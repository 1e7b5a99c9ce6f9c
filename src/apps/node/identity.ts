/** The node's certificate, which the server process writes at its first start: waited for, since both start together. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '#base/clock.ts'
import type { Config } from '../config/config.ts'
import { nodeCertificateName } from '../config/node-certificate.ts'

export interface NodeIdentity {
  /** PEM of the cluster's authority. */
  readonly authority: string
  readonly certificate: string
  readonly key: string
}

export async function nodeIdentity(config: Config, clock: Clock): Promise<NodeIdentity> {
  const path = (file: string): string => join(config.paths.pki, file)
  // The certificate is written after the key, and both atomically.
  while (!existsSync(path(`${nodeCertificateName}.crt`))) await sleep(clock, 10)
  const read = (file: string): string => readFileSync(path(file), 'utf8')
  return { authority: read('ca.crt'), certificate: read(`${nodeCertificateName}.crt`), key: read(`${nodeCertificateName}.key`) }
}
