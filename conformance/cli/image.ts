/** The stand-in image of all cases: busybox with its applets, as a `docker save` archive, so that both engines give it the same id. */
import { createHash } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { sampleTar, type Sample } from '../../src/oci/layer/archive-samples.ts'

export const imageName = 'bb:1'

export interface StandIn {
  readonly archive: Buffer
  /** Hex, without `sha256:`. */
  readonly imageId: string
}

export function standInImage(): StandIn {
  const applets = spawnSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).stdout.trim().split('\n').filter((name) => name !== 'busybox')
  const files: Sample[] = [
    ...['bin', 'dev', 'etc', 'home', 'proc', 'root', 'sys', 'tmp', 'var'].map((path): Sample => ({ path, type: 'directory' })),
    { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...applets.map((name): Sample => ({ path: `bin/${name}`, type: 'symlink', link: 'busybox' })),
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\nbob:x:1000:\nstaff:x:50:bob\n' },
  ]
  const layer = sampleTar(files)
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`
  const config = JSON.stringify({
    architecture: 'amd64',
    config: { Env: ['PATH=/bin'], Cmd: ['sh'], WorkingDir: '/', Labels: { from: 'image' } },
    created: '2024-01-01T00:00:00Z',
    history: [{ created: '2024-01-01T00:00:00Z', created_by: 'busybox' }],
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: [diffId] },
  })
  const imageId = createHash('sha256').update(config).digest('hex')
  const manifest = JSON.stringify([{ Config: `${imageId}.json`, RepoTags: [imageName], Layers: ['layer.tar'] }])
  return { imageId, archive: sampleTar([{ path: `${imageId}.json`, content: config }, { path: 'layer.tar', content: layer }, { path: 'manifest.json', content: manifest }]) }
}
