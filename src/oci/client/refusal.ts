/** A registry's refusal (distribution-spec "Error Codes") as a fault of ours, in its own words. */
import { readBody } from '#base/http.ts'
import { Fault } from '#base/fault.ts'
import type { FaultCode } from '#base/fault.ts'
import { asObject, member } from '../json.ts'
import type { Answer } from './transport.ts'

/** What is read of an answer that is no content. */
export const maxAnswerBytes = 1024 * 1024

function codeOf(status: number): FaultCode {
  if (status === 401) return 'unauthenticated'
  if (status === 403) return 'permissionDenied'
  if (status === 404) return 'notFound'
  if (status === 416) return 'rangeNotSatisfiable'
  if (status === 429) return 'resourceExhausted'
  return status >= 500 ? 'unavailable' : 'invalidArgument'
}

/** A registry's refusal as a fault, with its own words (`errors[].message`) where it gave any. */
export async function refusal(answer: Answer, what: string): Promise<Fault> {
  const bytes = await readBody(answer.body, { maxBytes: maxAnswerBytes, what: 'error answer' })
  const retryAfter = Number(answer.headers['retry-after'])
  const said = words(bytes)
  return new Fault(codeOf(answer.status), `${what}: ${said?.text ?? `HTTP ${answer.status}`}`, {
    details: { status: answer.status, ...(said === undefined ? {} : { registryWords: said.docker }) },
    ...(Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
  })
}

/** A registry's own words; `docker` as Docker's clients print them, with the code in plain words. */
function words(bytes: Buffer): { readonly text: string; readonly docker: string } | undefined {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    // Proxies answer in HTML; the status says enough.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof value !== 'object' || value === null || !('errors' in value) || !Array.isArray(value.errors)) return undefined
  const first: unknown = value.errors[0]
  if (typeof first !== 'object' || first === null) return undefined
  const node = asObject(first, 'errors[0]')
  const [code, message] = ['code', 'message'].map((name) => member(node, name)).map((part) => (typeof part === 'string' ? part : ''))
  const join = (parts: readonly (string | undefined)[]): string => parts.filter((part) => part).join(': ')
  const text = join([code, message])
  return text === '' ? undefined : { text, docker: join([code?.toLowerCase().replaceAll('_', ' '), message]) }
}
