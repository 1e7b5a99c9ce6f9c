/** libnftables through FFI, run in a kernel worker. A context stays in the network namespace it was made in. */
import koffi from 'koffi'
import { Fault, type FaultCode } from '#base/fault.ts'
import type { InNamespace } from '../../contract/links.ts'
import { inNetworkNamespace } from './namespaces.ts'

type Context = { readonly brand: 'nft_ctx' }

interface Library {
  create(flags: number): Context
  free(context: Context): void
  bufferOutput(context: Context): number
  bufferError(context: Context): number
  run(context: Context, script: string): number
  output(context: Context): string | null
  error(context: Context): string | null
  setOutputFlags(context: Context, flags: number): void
}

const OUTPUT_JSON = 1 << 4

let loaded: Library | undefined

function library(): Library {
  if (loaded !== undefined) return loaded
  let handle: ReturnType<typeof koffi.load>
  try {
    handle = koffi.load('libnftables.so.1')
  } catch (error) {
    throw new Fault('unavailable', 'libnftables.so.1 cannot be loaded: install the package libnftables1', { cause: error })
  }
  loaded = {
    create: handle.func('void *nft_ctx_new(uint32_t flags)'),
    free: handle.func('void nft_ctx_free(void *ctx)'),
    bufferOutput: handle.func('int nft_ctx_buffer_output(void *ctx)'),
    bufferError: handle.func('int nft_ctx_buffer_error(void *ctx)'),
    run: handle.func('int nft_run_cmd_from_buffer(void *ctx, const char *buf)'),
    output: handle.func('const char *nft_ctx_get_output_buffer(void *ctx)'),
    error: handle.func('const char *nft_ctx_get_error_buffer(void *ctx)'),
    setOutputFlags: handle.func('void nft_ctx_output_set_flags(void *ctx, uint32_t flags)'),
  }
  return loaded
}

let home: Context | undefined

function newContext(): Context {
  const context = library().create(0)
  library().bufferOutput(context)
  library().bufferError(context)
  return context
}

function inContext<T>(where: InNamespace, work: (context: Context) => T): T {
  if (where.netns === undefined) {
    home ??= newContext()
    return work(home)
  }
  return inNetworkNamespace(where.netns, () => {
    const context = newContext()
    try {
      return work(context)
    } finally {
      library().free(context)
    }
  })
}

const complaints: readonly (readonly [RegExp, FaultCode])[] = [
  [/No such file or directory|does not exist/, 'notFound'],
  [/File exists/, 'alreadyExists'],
  [/Device or resource busy|Resource temporarily unavailable/, 'conflict'],
  [/Operation not permitted/, 'permissionDenied'],
  [/No space left|Cannot allocate memory|No buffer space/, 'resourceExhausted'],
]

function run(context: Context, script: string): string {
  const status = library().run(context, script)
  // Both buffers are emptied by the next run; read them now.
  const output = library().output(context) ?? ''
  const error = (library().error(context) ?? '').trim()
  if (status === 0) return output
  const code = complaints.find(([pattern]) => pattern.test(error))?.[1] ?? 'invalidArgument'
  throw new Fault(code, `nftables refused: ${error.slice(0, 2000)}`)
}

export function applyNft(request: InNamespace & { readonly script: string }): void {
  inContext(request, (context) => run(context, `${request.script}\n`))
}

export function listNft(request: InNamespace & { readonly table: string }): unknown[] {
  return inContext(request, (context) => {
    library().setOutputFlags(context, OUTPUT_JSON)
    try {
      const answer: unknown = JSON.parse(run(context, `list table ${request.table}`))
      const rows = typeof answer === 'object' && answer !== null && 'nftables' in answer ? answer.nftables : []
      return Array.isArray(rows) ? rows : []
    } catch (error) {
      if (error instanceof Fault && error.code === 'notFound') return []
      throw error
    } finally {
      library().setOutputFlags(context, 0)
    }
  })
}
