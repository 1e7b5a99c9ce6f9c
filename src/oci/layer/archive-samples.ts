/** Entries and whole archives for tests of what reads them: pleasant ones, and ones made to do harm. */
import type { TarEntry } from './entry.ts'
import { tarEnd, tarHeader, tarPadding } from './writer.ts'

export interface Sample {
  readonly path: string
  readonly type?: TarEntry['type']
  readonly link?: string
  readonly content?: string | Buffer
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly modifiedNs?: bigint
  readonly xattrs?: Readonly<Record<string, Buffer>>
  readonly device?: { readonly major: number; readonly minor: number }
}

/** A tar of the samples, exactly as they say: nothing is checked. */
export function sampleTar(samples: readonly Sample[]): Buffer {
  const parts: Buffer[] = []
  for (const sample of samples) {
    const content = Buffer.from(sample.content ?? '')
    const type = sample.type ?? 'file'
    const sizeBytes = type === 'file' ? content.length : 0
    parts.push(
      tarHeader({
        type,
        path: Buffer.from(sample.path),
        linkPath: Buffer.from(sample.link ?? ''),
        mode: sample.mode ?? (type === 'directory' ? 0o755 : 0o644),
        uid: sample.uid ?? 0,
        gid: sample.gid ?? 0,
        userName: '',
        groupName: '',
        sizeBytes,
        modifiedNs: sample.modifiedNs ?? 0n,
        ...(sample.device === undefined ? {} : { device: sample.device }),
        xattrs: new Map(Object.entries(sample.xattrs ?? {})),
      }),
      content,
      tarPadding(sizeBytes),
    )
  }
  return Buffer.concat([...parts, tarEnd])
}

/** The bytes in pieces of the given size, to catch readers that rely on chunk borders. */
export async function* inChunks(bytes: Buffer, size = 65536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
