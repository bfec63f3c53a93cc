##! A notice for each service that a flow is of, by its verdict, on a port where it doesn't belong: a tunnel on 443, say.
##! Not loaded by default: `@load mmtt/unexpected-service`.

@load ./__load__

module MMTT;

export {
	redef enum Notice::Type += {
		## A flow is of a service that doesn't belong on the responder's port. One
		## notice for each responder, port and service in
		## :zeek:see:`Notice::default_suppression_interval`.
		Unexpected_Service,
	};

	## Services that belong on a responder's port. Ports that are not here are not
	## looked at.
	option expected_services: table[port] of set[string] = {
		[21/tcp] = set("file_transfer"),
		[22/tcp] = set("remote_access", "file_transfer"),
		[25/tcp] = set("email"),
		[53/tcp] = set("infrastructure"),
		[53/udp] = set("infrastructure"),
		[80/tcp] = set("web", "chat", "social", "email", "file_transfer",
		    "software_update", "streaming", "voip", "gaming", "iot"),
		[110/tcp] = set("email"),
		[123/udp] = set("infrastructure"),
		[143/tcp] = set("email"),
		[389/tcp] = set("directory"),
		[443/tcp] = set("web", "chat", "social", "email", "file_transfer",
		    "software_update", "streaming", "voip", "gaming", "iot",
		    "infrastructure"),
		[443/udp] = set("web", "chat", "social", "email", "file_transfer",
		    "software_update", "streaming", "voip", "gaming", "iot",
		    "infrastructure"),
		[445/tcp] = set("file_transfer", "directory"),
		[465/tcp] = set("email"),
		[587/tcp] = set("email"),
		[636/tcp] = set("directory"),
		[853/tcp] = set("infrastructure"),
		[993/tcp] = set("email"),
		[995/tcp] = set("email"),
		[1194/tcp] = set("tunnel"),
		[1194/udp] = set("tunnel"),
		[3306/tcp] = set("database"),
		[3389/tcp] = set("remote_access"),
		[4500/udp] = set("tunnel"),
		[5432/tcp] = set("database"),
		[5900/tcp] = set("remote_access"),
		[8883/tcp] = set("iot", "chat"),
		[51820/udp] = set("tunnel"),
	};

	## How sure the model must be of a service for that.
	option unexpected_service_score = 0.9;
}

hook outcome(o: Outcome)
	{
	if ( ! o?$verdict || o$id$resp_p !in expected_services || is_exempt(o$id) )
		return;

	local v = o$verdict;

	if ( v$service == "unknown"
	    || v$service_score < unexpected_service_score
	    || v$service in expected_services[o$id$resp_p] )
		return;

	NOTICE(Notice::Info($note=Unexpected_Service, $ts=o$w$ts, $conn=o$c, $msg=fmt("%s offers the service %s on port %s, where it doesn't belong (score %.2f)",
	    o$id$resp_h, v$service, o$id$resp_p, v$service_score),
	    $identifier=cat(o$id$resp_h, o$id$resp_p, v$service)));
	}
