/** Go's `os.FileMode` numbers, which Docker writes into the `X-Docker-Container-Path-Stat` header (Go package io/fs). */
import { unreachable } from '#base/assert.ts'
import type { StatResult } from '#oci/layer/jobs.ts'

export function goMode(found: Pick<StatResult, 'kind' | 'mode'>): number {
  const { mode } = found
  return typeBits(found.kind) + ((mode & 0o4000) !== 0 ? 2 ** 23 : 0) + ((mode & 0o2000) !== 0 ? 2 ** 22 : 0) + ((mode & 0o1000) !== 0 ? 2 ** 20 : 0) + (mode & 0o777)
}

function typeBits(kind: StatResult['kind']): number {
  switch (kind) {
    case 'file':
    case 'hardlink':
      return 0
    case 'directory':
      return 2 ** 31
    case 'symlink':
      return 2 ** 27
    case 'blockDevice':
      return 2 ** 26
    case 'fifo':
      return 2 ** 25
    case 'socket':
      return 2 ** 24
    case 'charDevice':
      return 2 ** 26 + 2 ** 21
    default:
      return unreachable(kind)
  }
}
