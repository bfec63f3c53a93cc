##! On live traffic: the sensor's key, by which it names hosts. It is random, kept across restarts, and the same on all
##! nodes of a cluster: the manager has it, and the workers ask for it.

@load base/frameworks/cluster
@load base/frameworks/input
@load ./complain
@load ./ends
@load ./live

module MMTT;

export {
	## The file that the sensor's key is kept in. If it is lost, incidents of before
	## name no hosts. Empty: ``mmtt-key`` where Zeek keeps its tables, which is
	## :zeek:see:`Broker::table_store_db_directory`, and with zeekctl ``BrokerDBDir``.
	const key_file = "" &redef;
}

global key_asked: event(reply_topic: string);
global key_is: event(key: string);
global ask_for_key: event();
global key_line: event(description: Input::EventDescription, tpe: Input::Event,
    text: string);

const key_stream = "mmtt-key";

type KeyLine: record {
	text: string;
};

function is_key(text: string): bool
	{
	return /[0-9a-f]{64}/ == text;
	}

function key_path(): string
	{
	return key_file == "" ? Broker::table_store_db_directory + "/mmtt-key" :
	    key_file;
	}

# Workers that came up with the key of a manager before this one have to know.
function have_key(key: string)
	{
	use_key(key);

	if ( Cluster::is_enabled() )
		Cluster::publish(Cluster::worker_topic, MMTT::key_is, key);
	}

function make_key()
	{
	local path = key_path();
	local key = random_key();
	local quoted = safe_shell_quote(path);

	# Nobody else may read it, from the first moment on. What became of the command nobody tells.
	if ( ! piped_exec(fmt("umask 077; { mkdir -p -- \"$(dirname -- %s)\" && cat > %s; } 2>/dev/null",
	    quoted, quoted), key + "\n")
	    || file_size(path) < |key| )
		complain("key", fmt("can't write the sensor's key to %s; incidents from before a restart will name no hosts; set MMTT::key_file",
		    path));

	have_key(key);
	}

event MMTT::key_line(description: Input::EventDescription, tpe: Input::Event,
    text: string)
	{
	if ( is_key(text) )
		{
		have_key(text);
		return;
		}

	complain("key", fmt("%s holds no key of a sensor's; it is left as it is, and this Zeek takes another key; remove it, or set MMTT::key_file",
	    key_path()));
	have_key(random_key());
	}

event Input::end_of_data(name: string, source: string)
	{
	if ( name == key_stream )
		Input::remove(name);
	}

event MMTT::key_asked(reply_topic: string)
	{
	if ( Cluster::local_node_type() == Cluster::MANAGER && my_key != "" )
		Cluster::publish(reply_topic, MMTT::key_is, my_key);
	}

event MMTT::key_is(key: string)
	{
	if ( Cluster::local_node_type() == Cluster::WORKER
	    && is_key(key)
	    && key != my_key )
		use_key(key);
	}

event MMTT::ask_for_key()
	{
	if ( my_key != "" )
		return;

	Cluster::publish(Cluster::manager_topic, MMTT::key_asked, Cluster::node_topic(
	    Cluster::node));
	schedule 1sec { MMTT::ask_for_key() };
	}

event zeek_init()
	{
	if ( getenv("ZEEKCTL_CHECK_CONFIG") != "" || reading_traces() )
		return;

	if ( Cluster::is_enabled() && Cluster::local_node_type() == Cluster::WORKER )
		schedule 0sec { MMTT::ask_for_key() };

	if ( Cluster::is_enabled() ? Cluster::local_node_type() == Cluster::MANAGER :
	    is_live() )
		{
		# Zeek would complain of a file that isn't there.
		if ( file_size(key_path()) <= 0.0 )
			make_key();
		else
			Input::add_event(Input::EventDescription($source=key_path(),
			    $reader=Input::READER_RAW, $mode=Input::MANUAL,
			    $name=key_stream, $fields=KeyLine, $want_record=F,
			    $ev=MMTT::key_line));
		}
	}
