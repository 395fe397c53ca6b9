-- Applies one event in one atomic step, unless somebody else has written the tidemark meanwhile.
--
-- KEYS[1]   the tidemark        KEYS[2…]  the stamps
-- ARGV[1]   the tidemark's bytes as the writer knows them; empty where it knows of none
-- ARGV[2]   the new tidemark    ARGV[3]   the new stamp   ARGV[4]  the stamp's life in ms
-- ARGV[5]   the channel         ARGV[6]   the event
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
for place = 2, #KEYS do
  redis.call('SET', KEYS[place], ARGV[3], 'PX', ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1
