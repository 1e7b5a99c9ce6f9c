/** Events and the descriptors they belong to, epoll(7). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check, libc, O_CLOEXEC, O_NONBLOCK } from '../libc.ts'
import { Epoll, EPOLLIN } from './epoll.ts'

const eventfd = (count: number): number => check(libc.eventfd(count, O_CLOEXEC | O_NONBLOCK), 'open an eventfd')

test('an event that waits in the batch for a closed descriptor is not given to the next one of its number', () => {
  const epoll = new Epoll()
  const [first, second] = [eventfd(1), eventfd(1)]
  const quiet: number[] = []
  const called: string[] = []
  const onReady = (own: number, other: number) => (): void => {
    called.push('ready')
    for (const fd of [own, other]) {
      epoll.remove(fd)
      libc.close(fd)
    }
    // They take the numbers just given back, and nothing ever happens on them.
    for (let opened = 0; opened < 2; opened += 1) {
      const fd = eventfd(0)
      quiet.push(fd)
      epoll.add(fd, EPOLLIN, () => called.push('quiet'))
    }
  }
  epoll.add(first, EPOLLIN, onReady(first, second))
  epoll.add(second, EPOLLIN, onReady(second, first))
  epoll.wait()
  assert.deepEqual(new Set(quiet), new Set([first, second]))
  assert.deepEqual(called, ['ready'])
  for (const fd of quiet) libc.close(fd)
  epoll.close()
})
