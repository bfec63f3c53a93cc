##! A connection's ends as agents see them: not by address, but by a name that is always the same for a host, and that
##! only who has the sensor's key can turn back. So agents put a host's connections together and know no host.

@load ./main

module MMTT;

export {
	## Names that are kept, so that a host's is not made anew for each of its
	## connections.
	const ends_kept = 100000 &redef;

	## Originator, responder and its port, such as "443/tcp", as one string: hosts by
	## their names. Empty where this node has no key (yet): it is evidence of nothing
	## then.
	global ends_of: function(orig: addr, resp: addr, resp_p: port): string;

	## The host of a name; :: if it is none of this sensor's.
	global host_of: function(end: string): addr;

	## Name hosts by this key from now on.
	global use_key: function(key: string);

	## A key that nobody can guess.
	global random_key: function(): string;
}

global my_key = "";

# What all names of this sensor begin with: agents tell sensors by it.
global sensor = "";

function hex_to_count(text: string): count
	{
	return bytestring_to_count(hexstr_to_bytestring(text));
	}

# Each word of an address, or of what is made of one, with the key's numbers that go with the tag.
function masked(words: index_vec, tag: string): index_vec
	{
	local pad = sha256_hash(my_key, "pad", tag);
	local found: index_vec = vector();

	for ( i, word in words )
		found += word ^ hex_to_count(pad[8 * i : 8 * i + 8]);

	return found;
	}

# A keyed hash, and the address masked by it. Nobody without the key can tell one name's address from another's, and a name
# that was made up shows, as its hash is wrong.
function named(host: addr): string
	{
	local tag = sha256_hash(my_key, "tag", host)[0:12];
	local name = sensor + tag;

	for ( _, word in masked(addr_to_counts(host), tag) )
		name += fmt("%08x", word);

	return name;
	}

global keep: function(host: addr, name: string);

function named_anew(host: addr): string
	{
	local name = named(host);
	keep(host, name);
	return name;
	}

global ends: table[addr] of string &read_expire=10min &default=named_anew;

# With ever new hosts, as in a scan, a name is needed once or twice.
function keep(host: addr, name: string)
	{
	if ( |ends| < ends_kept )
		ends[host] = name;
	}

function ends_of(orig: addr, resp: addr, resp_p: port): string
	{
	return my_key == "" ? "" : cat(ends[orig], " ", ends[resp], " ", resp_p);
	}

function host_of(end: string): addr
	{
	if ( my_key == "" || /[0-9a-f]{24}([0-9a-f]{24})?/ != end )
		return [::];

	local words: index_vec = vector();

	while ( 16 + 8 * |words| < |end| )
		words += hex_to_count(end[16 + 8 * |words| : 24 + 8 * |words|]);

	local host = counts_to_addr(masked(words, end[4:16]));
	return named(host) == end ? host : [::];
	}

function use_key(key: string)
	{
	clear_table(ends);
	my_key = key;
	sensor = sha256_hash(key, "sensor")[0:4];
	}

function random_key(): string
	{
	# Ids are hashes by a key that Zeek takes from the system's randomness when it starts.
	return sha256_hash(unique_id(""), unique_id(""), unique_id(""), current_time(),
	    getpid());
	}

event zeek_init() &priority=5
	{
	if ( reading_traces() )
		use_key(random_key());
	}
