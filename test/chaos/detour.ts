/**
 * Loaded before a daemon or a command (`--import`): hands every TCP connection that it opens to the relay of the tests, with a first line that
 * says who opens it and where to. So nothing gets past the relay, whatever addresses its peers tell. It also lets the wall clock jump.
 */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import process from 'node:process'
import { isMainThread } from 'node:worker_threads'

/** Milliseconds between two looks at how far the clock is off. */
const clockLookMs = 100

const { CHAOS_CLOCK: clockFile, CHAOS_NAME: name, CHAOS_RELAY: relay } = process.env

if (isMainThread && name !== undefined && relay !== undefined) {
  const { connect } = net
  const detour = (options: net.NetConnectOpts): net.Socket => {
    if (!('port' in options)) return connect(options)
    const socket = connect({ ...options, host: '127.0.0.1', port: Number(relay) })
    socket.write(`${name} ${options.port}\n`)
    return socket
  }
  net.connect = detour as typeof net.connect
}

if (isMainThread && clockFile !== undefined) {
  const { now } = Date
  let aheadMs = 0
  const look = (): void => {
    aheadMs = Number(readFileSync(clockFile, 'utf8'))
  }
  look()
  setInterval(look, clockLookMs).unref()
  Date.now = () => now() + aheadMs
}
