# Real processes on real sockets. They know the public headers and the wire,
# nothing of src/.

if(NOT TARGET peal_static)
    return()
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)

file(GLOB support_sources CONFIGURE_DEPENDS ${here}/integration/support/*.c)
if(support_sources)
    add_library(integration_support STATIC EXCLUDE_FROM_ALL ${support_sources})
    target_compile_options(integration_support PRIVATE -UNDEBUG)
    target_include_directories(integration_support PUBLIC
        ${here}/integration ${here}/integration/support)
    target_link_libraries(integration_support
        PRIVATE peal_flags OpenSSL::SSL
        PUBLIC peal_static PkgConfig::CMOCKA PkgConfig::JANSSON)
endif()

# For the test that has Prometheus' own tool read the metrics.
find_program(PEAL_PROMTOOL promtool HINTS ${root}/build/tools)
if(PEAL_PROMTOOL)
    list(APPEND test_environment PEAL_PROMTOOL=${PEAL_PROMTOOL})
endif()

# For the test that has a real proxy speak the PROXY protocol.
find_program(PEAL_HAPROXY haproxy HINTS ${root}/build/tools /usr/sbin)
if(PEAL_HAPROXY)
    list(APPEND test_environment PEAL_HAPROXY=${PEAL_HAPROXY})
endif()

# For the test that boots a kernel with TLS.
find_program(PEAL_QEMU qemu-system-x86_64)
if(PEAL_QEMU AND EXISTS ${root}/build/tools/guest/vmlinuz)
    list(APPEND test_environment PEAL_QEMU=${PEAL_QEMU}
        PEAL_GUEST=${root}/build/tools/guest)
endif()

file(GLOB programs CONFIGURE_DEPENDS ${here}/integration/*.c)
foreach(source IN LISTS programs)
    cmake_path(GET source STEM name)
    set(target integration_${name})
    peal_test_program(${target} ${source})
    set_target_properties(${target} PROPERTIES
        OUTPUT_NAME ${name}
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/integration)
    target_include_directories(${target} PRIVATE ${here}/integration)
    if(TARGET integration_support)
        target_link_libraries(${target} PRIVATE integration_support)
    endif()
    target_link_libraries(${target} PRIVATE
        peal_static OpenSSL::SSL ZLIB::ZLIB Threads::Threads m)
    peal_test(integration.${name} integration $<TARGET_FILE:${target}>)
endforeach()

# The tests of what options do, once more with all of them changed while the
# server runs (support/host.h).
foreach(name IN ITEMS
        applications_act_on_their_clients
        clients_are_introduced doors_let_in_who_may floods_are_limited
        hooks_are_told_and_asked http_shares_the_port
        limits_of_number_have_counters limits_of_size_have_counters
        limits_of_time_have_counters memory_is_governed
        operators_see_the_truth programs_answer_http proxies_tell_addresses
        requests_are_answered_once slow_readers_follow_their_policy
        stops_take_their_time the_log_tells_of_clients
        tls_protects_both_transports)
    peal_test(integration.${name}.updated integration
        $<TARGET_FILE:integration_${name}>)
    set_property(TEST integration.${name}.updated APPEND PROPERTY
        ENVIRONMENT PEAL_TEST_UPDATE=1)
endforeach()

file(GLOB scripts CONFIGURE_DEPENDS ${here}/integration/*.mjs)
if(scripts)
    find_program(PEAL_NODE NAMES node nodejs REQUIRED)
endif()
foreach(source IN LISTS scripts)
    cmake_path(GET source STEM name)
    # A program of a user's is not built with our sanitizers.
    if(name STREQUAL readme_programs AND (PEAL_SANITIZE OR PEAL_COVERAGE))
        continue()
    endif()
    peal_test(integration.${name} integration ${PEAL_NODE} ${source})
    set_tests_properties(integration.${name} PROPERTIES
        WORKING_DIRECTORY ${here}/integration)
endforeach()

# A machine that is emulated takes its time.
set_tests_properties(integration.kernel_takes_tls_in_a_guest PROPERTIES
    TIMEOUT 600 COST 1000)
