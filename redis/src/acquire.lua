-- Applies one request to the state of one quota. `tower_floodgate::shared::Store` defines the
-- request (ARGV), the reply, and the steps, whose numbers stand below. Times are in microseconds.
--
-- The state is one string under one key:
--
--     magic (8 bytes, with a version)
--     entries (mark: double, count: u32), each mark above the one in front of it
--     epoch, total, saved, shift, out, N, W, first, whole (doubles), run (8 bytes)
--
-- `saved` is the latest time that was saved. `shift` is added to the clock of the server after it
-- was set back. `out` is the sum of the counts. `first` is the position of the first entry that
-- counts. `whole` is the time at which the whole value was set. `run` is a part of the run id of
-- the server. Doubles hold microseconds since 1970 exactly until 2255; a text of them keeps 14
-- digits.
--
-- A request copies little, because each copy of a full state of 353 entries costs a quarter of it,
-- and to unpack them costs twice as much. So it unpacks the last entry, those that expire and those
-- that it leases from. It writes in place where it can, from the last entry on.

local pack, unpack, sub, max, min = struct.pack, struct.unpack, string.sub, math.max, math.min
local MAGIC, FIRST, ENTRY, ENTRY_SIZE, MAX_COUNT = 'floodg:1', 9, '<dI4', 12, 4294967295
local TAIL, TAIL_SIZE = '<dddddddddc8', 80

if ARGV[1] ~= '1' then
    return redis.error_reply('VERSION of the request is unknown to this script')
end
-- `+ 0` converts a text to a number, exactly up to 2^53, for less than `tonumber`.
local N, W, L, L_max = ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0, ARGV[5] + 0
local want, horizon, seen_epoch, seen_total = ARGV[6] + 0, ARGV[7] + 0, ARGV[8] + 0, ARGV[9] + 0
local mine, late, is_strict = ARGV[10] + 0, ARGV[11] + 0, ARGV[12] == '1'
local grain = (W + -W % 256) / 256

local clock = redis.call('TIME')
local info = redis.call('INFO', 'server')
local now = clock[1] * 1000000 + clock[2]
local _, run = string.find(info, 'run_id:', 1, true)
run = sub(info, run + 1, run + 8)

-- The entries are those from `first` to the one at `last_at` exclusive, then `added`, then the last
-- one, which is unpacked because a lease may merge with it. Without entries, `last_mark` is 0.
local state = redis.call('GET', KEYS[1])
local first, last_at, last_mark, last_count, added = FIRST, FIRST, 0, 0, ''
local epoch, total, shift, out, whole = 0, 0, 0, 0, 0
local is_changed, is_whole, is_lost, is_other = false, false, false, 0

-- Adds `count` permits of a lease of `length` from `at` on, and returns its mark. Behind an entry
-- with a later mark, the lease counts as long as that entry, so that the marks stay in order.
local function add(at, length, count)
    local mark = at + length + W
    mark = mark + -mark % grain
    if last_mark < mark then
        if last_mark > 0 then added = added .. pack(ENTRY, last_mark, last_count) end
        last_mark, last_count = mark, 0
    end
    -- A larger sum would wrap. This one is above any N: nothing is leased before the mark.
    count = min(count, MAX_COUNT - last_count)
    last_count, out, is_changed = last_count + count, out + count, true
    return last_mark
end

-- Returns the entries, packed.
local function entries()
    if last_mark == 0 then return '' end
    return sub(state, first, last_at - 1) .. added .. pack(ENTRY, last_mark, last_count)
end

if state then
    -- A value of another program is not overwritten, nor that of another version.
    local tail_at = #state - TAIL_SIZE + 1
    local size = tail_at - FIRST
    if sub(state, 1, FIRST - 1) ~= MAGIC or size < 0 or size % ENTRY_SIZE > 0 then
        return redis.error_reply('FOREIGN value under the key of a quota')
    end
    local saved, n, w, state_run
    epoch, total, saved, shift, out, n, w, first, whole, state_run = unpack(TAIL, state, tail_at)
    if n ~= N or w ~= W then is_other = 1 end

    -- 1. If the clock was set back, the time continues from `saved`. A refusal saves that, too: the
    -- time would stand still until the next lease otherwise.
    now = now + shift
    if now < saved then
        shift, now, is_changed = shift + saved - now, saved, true
    end

    -- 2. Entries whose mark has come are removed: all of them at once after an idle time.
    if size > 0 then
        last_at = tail_at - ENTRY_SIZE
        last_mark, last_count = unpack(ENTRY, state, last_at)
        if last_mark <= now then
            first, last_mark, last_count, out = last_at, 0, 0, 0
        end
    end
    while first < last_at do
        local mark, count = unpack(ENTRY, state, first)
        if mark > now then break end
        first, out = first + ENTRY_SIZE, out - count
    end

    -- 3. A state before the one that the request has seen has lost something. That of another
    -- server process may have: if others have leased from it meanwhile, `total` has grown again and
    -- does not show the loss.
    is_lost = state_run ~= run or seen_epoch > epoch or seen_epoch == epoch and seen_total > total
    is_whole = is_lost or is_other == 1 or now - whole > W
else
    state, is_whole, is_lost = '', true, true
end
if is_lost then
    epoch, is_changed = max(now, epoch + 1, seen_epoch + 1), true
    if is_strict then
        first, last_at, last_mark, last_count, out = FIRST, FIRST, 0, 0, 0
        add(now + horizon, L_max, N)
    end
end

-- 4. The lost leases of the process may be the longest ones, from the horizon on.
if seen_epoch > 0 and seen_epoch ~= epoch and mine > 0 and not is_strict then
    add(now + horizon, L_max, mine)
end

-- 5. A refund after its mark, or one of another history, would free permits of another process.
for i = 13, seen_epoch == epoch and #ARGV or 0, 2 do
    local mark, count = ARGV[i] + 0, ARGV[i + 1] + 0
    local low, high = 0, (last_at - first) / ENTRY_SIZE - 1
    if mark == last_mark then
        count, high = min(count, last_count), -1
        last_count, out, is_changed = last_count - count, out - count, is_changed or count > 0
    end
    while low <= high do
        local middle = math.floor((low + high) / 2)
        local at = first + middle * ENTRY_SIZE
        local found, had = unpack(ENTRY, state, at)
        if found < mark then
            low = middle + 1
        elseif found > mark then
            high = middle - 1
        else
            count, high = min(count, had), -1
            state = sub(state, 1, at + 7) .. pack('<I4', had - count) .. sub(state, at + ENTRY_SIZE)
            out, is_changed, is_whole = out - count, is_changed or count > 0, true
        end
    end
end

-- 6. Permits that were issued without a lease.
if late > 0 then add(now, L, late) end

-- 7. Leases: from now on, or else from the marks of the next entries on.
local reply = { now, epoch, 0, 0, 0, is_other }
local function lease(at, count)
    local size, mark = #reply, add(at, L, count)
    reply[size + 1], reply[size + 2], reply[size + 3] = at - now, count, mark
    total = total + count
end
local chunk, free = max(1, (N - N % 64) / 64), N - out
local take = max(0, min(want, free, max(chunk, (free - free % 2) / 2)))
if take > 0 then lease(now, take) end
local left = min(want, chunk) - take
free = free - take
if free <= 0 and (left > 0 or take == 0) then
    -- The leases that are made here are not among the entries that are read.
    local list, from, to = state, first, last_at
    if is_changed then
        list, from = entries(), 1
        to = #list - ENTRY_SIZE + 1
    end
    for at = from, to, ENTRY_SIZE do
        local mark, count = unpack(ENTRY, list, at)
        free = free + count
        if free > 0 then
            if left <= 0 or mark - now > horizon then
                if #reply == 6 then reply[5] = mark - now end
                break
            end
            count = min(free, left)
            lease(mark, count)
            free, left = free - count, left - count
        end
    end
end
reply[3], reply[4] = total, max(0, N - out)

-- 8. A refusal changes nothing, and writes nothing: not even N and W, nor the entries that expired.
if is_changed then
    -- The time to live is set with the value. The change in place keeps it, so the value is set
    -- again after a window. That also drops expired entries, before they are many.
    is_whole = is_whole or last_mark == 0 or first > FIRST + 16 * ENTRY_SIZE
    local at, value = last_at - 1, added .. pack(ENTRY, last_mark, last_count)
    if is_whole then
        value, first, whole = MAGIC .. entries(), FIRST, now
    end
    value = value .. pack(TAIL, epoch, total, now, shift, out, N, W, first, whole, run)
    if is_whole then
        local ttl = (4 * W - 4 * W % 1000) / 1000 + (is_strict and 604800000 or 60000)
        redis.call('SET', KEYS[1], value, 'PX', ttl)
    else
        redis.call('SETRANGE', KEYS[1], at, value)
    end
end
return reply
