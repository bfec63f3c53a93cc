##! Which incidents nobody wants to hear of: a file of lines, read again whenever it changes. ``mmtt incidents mute`` writes
##! it.

@load base/frameworks/cluster
@load base/frameworks/input
@load ./complain
@load ./incidents

module MMTT;

export {
	## The file: its columns are orig, resp (each an address or a network), resp_p
	## ("443/tcp"), kind, until (Unix time) and note; "-" stands for any. Incidents that
	## it names raise no notice; the log has them all the same.
	const muted_file = "/var/lib/mmtt/muted.tsv" &redef;

	## Whether a line of the file names it.
	global is_muted: function(rec: IncidentInfo): bool;

	## Whether a line of the file names it, were it of some kind.
	global is_muted_by_kind: function(rec: IncidentInfo): bool;
}

const muted_stream = "mmtt-muted";

type MutedLine: record {
	orig: string &optional;
	resp: string &optional;
	resp_p: string &optional;
	kind: string &optional;
	until: string &optional;
	note: string &optional;
};

type Mute: record {
	orig: subnet &optional;
	resp: subnet &optional;
	resp_p: port &optional;
	kind: string &optional;
	until: time &optional;
};

global mutes: vector of Mute;
# Of the reading that goes on.
global mutes_read: vector of Mute;

global muted_line: event(description: Input::EventDescription,
    tpe: Input::Event, line: MutedLine);
global look_for_muted: event();

function is_network(text: string): bool
	{
	return is_valid_ip(text) || is_valid_subnet(text);
	}

function to_network(text: string): subnet
	{
	return is_valid_ip(text) ? addr_to_subnet(to_addr(text)) : to_subnet(text);
	}

# A line that can't be read mutes nothing: too much is better than too little.
function is_mute(line: MutedLine): bool
	{
	return ( ! line?$orig || is_network(line$orig) )
	    && ( ! line?$resp || is_network(line$resp) )
	    && ( ! line?$resp_p || /[0-9]{1,5}\/(tcp|udp)/ == line$resp_p )
	    && ( ! line?$until || /[0-9]{1,11}(\.[0-9]{1,6})?/ == line$until )
	    && ( line?$orig || line?$resp || line?$resp_p || line?$kind );
	}

event MMTT::muted_line(description: Input::EventDescription, tpe: Input::Event,
    line: MutedLine)
	{
	if ( ! is_mute(line) )
		{
		complain("muted", fmt("%s has a line that mutes nothing, as it can't be read",
		    muted_file));
		return;
		}

	local mute = Mute();

	if ( line?$orig )
		mute$orig = to_network(line$orig);

	if ( line?$resp )
		mute$resp = to_network(line$resp);

	if ( line?$resp_p )
		mute$resp_p = to_port(line$resp_p);

	if ( line?$kind )
		mute$kind = line$kind;

	if ( line?$until )
		mute$until = double_to_time(to_double(line$until));

	mutes_read += mute;
	}

event Input::end_of_data(name: string, source: string)
	{
	if ( name != muted_stream )
		return;

	mutes = mutes_read;
	mutes_read = vector();
	}

function mutes_incident(mute: Mute, rec: IncidentInfo): bool
	{
	return ( ! mute?$orig || ( rec?$orig_h && rec$orig_h in mute$orig ) )
	    && ( ! mute?$resp || ( rec?$resp_h && rec$resp_h in mute$resp ) )
	    && ( ! mute?$resp_p || ( rec?$resp_p && rec$resp_p == mute$resp_p ) )
	    && ( ! mute?$kind || ( rec?$kind && rec$kind == mute$kind ) )
	    && ( ! mute?$until || rec$ts < mute$until );
	}

function is_muted(rec: IncidentInfo): bool
	{
	for ( _, mute in mutes )
		if ( mutes_incident(mute, rec) )
			return T;

	return F;
	}

function is_muted_by_kind(rec: IncidentInfo): bool
	{
	for ( _, mute in mutes )
		{
		if ( ! mute?$kind )
			next;

		local of_kind = copy(rec);
		of_kind$kind = mute$kind;

		if ( mutes_incident(mute, of_kind) )
			return T;
		}

	return F;
	}

# Zeek would complain of a file that isn't there.
event MMTT::look_for_muted()
	{
	if ( file_size(muted_file) < 0.0 )
		{
		if ( ! reading_traces() )
			schedule 10sec { MMTT::look_for_muted() };

		return;
		}

	Input::add_event(Input::EventDescription($source=muted_file,
	    $mode=reading_traces() ? Input::MANUAL : Input::REREAD,
	    $name=muted_stream, $fields=MutedLine, $ev=MMTT::muted_line));
	}

event zeek_init()
	{
	if ( muted_file != ""
	    && getenv("ZEEKCTL_CHECK_CONFIG") == ""
	    && ( ! Cluster::is_enabled() || Cluster::local_node_type() == Cluster::MANAGER ) )
		event MMTT::look_for_muted();
	}
