/** Files of a build context, of every kind that a context can have. */
import type { Sample } from '../../src/oci/layer/archive-samples.ts'

export const some: readonly Sample[] = [
  { path: 'a.txt', content: 'A\n', uid: 501, gid: 20 },
  { path: 'b.txt', content: 'B\n', mode: 0o600 },
  { path: 'dir', type: 'directory', mode: 0o750, uid: 9, gid: 9 },
  { path: 'dir/run.sh', content: '#!/bin/sh\necho run\n', mode: 0o755 },
  { path: 'dir/other.sh', content: 's', mode: 0o711 },
  { path: 'dir/sub', type: 'directory', mode: 0o755 },
  { path: 'dir/sub/deep.txt', content: 'deep' },
  { path: 'dir/link', type: 'symlink', link: 'run.sh' },
  { path: 'dir/up', type: 'symlink', link: '../a.txt' },
  { path: 'dir/hard', type: 'hardlink', link: 'dir/run.sh', mode: 0o755 },
  { path: 'top-link', type: 'symlink', link: 'a.txt' },
  { path: 'link-to-dir', type: 'symlink', link: 'dir' },
  { path: 'empty', type: 'directory' },
]
