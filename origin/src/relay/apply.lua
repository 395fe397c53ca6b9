-- Applies one event in one atomic step, unless somebody else has written the tidemark meanwhile.
--
-- KEYS[1]   the tidemark        KEYS[2…]  the stamps
-- ARGV[1]   the tidemark's bytes as the writer knows them; empty where it knows of none
-- ARGV[2]   the new tidemark    ARGV[3]   the new stamp   ARGV[4]  the stamp's life in ms
-- ARGV[5]   the channel         ARGV[6]   the event
-- ARGV[7]   how many of the keys, the tidemark among them, come before the stamps of parts
--
-- A change touches a part at every granularity, and few of these have ever been asked for. So of parts only
-- stamps that are there are replaced: one that is not equals nothing, whether it is written or not.
--
-- The tidemark comes after the stamps: should anything stop this half-way, there are new stamps and no
-- word that all is applied. A value of another type is nobody's tidemark: absent, and overwritten.
local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' then
  held = ''
end
if held ~= ARGV[1] then
  return 0
end
local parts = tonumber(ARGV[7])
for place = 2, parts do
  redis.call('SET', KEYS[place], ARGV[3], 'PX', ARGV[4])
end
for place = parts + 1, #KEYS do
  redis.call('SET', KEYS[place], ARGV[3], 'PX', ARGV[4], 'XX')
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
