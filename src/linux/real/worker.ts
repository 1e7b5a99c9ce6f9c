/** A kernel worker: takes one call after the other and answers each. It never unshares for good; see `operations/`. */
import { parentPort } from 'node:worker_threads'
import { present } from '#base/assert.ts'
import { saveCompiled } from '#base/compile-cache.ts'
import { type FaultMessage, toFaultMessage } from './faultMessage.ts'
import { type OperationName, operations } from './operations/table.ts'

export interface CallMessage {
  readonly id: number
  readonly name: OperationName
  readonly request: unknown
}

export interface AnswerMessage {
  readonly id: number
  readonly result?: unknown
  readonly fault?: FaultMessage
}

const port = present(parentPort, "the kernel worker's port")

port.on('message', ({ id, name, request }: CallMessage) => {
  let answer: AnswerMessage
  try {
    const operation = operations[name] as (request: unknown) => unknown
    answer = { id, result: operation(request) }
  } catch (error) {
    answer = { id, fault: toFaultMessage(error) }
  }
  port.postMessage(answer)
})

saveCompiled()
