# What only time brings to light. ctest runs it for seconds, `make soak` for
# ten minutes.

if(NOT TARGET integration_support)
    return()
endif()

file(GLOB soak_sources CONFIGURE_DEPENDS ${here}/soak/*.c)
peal_test_program(soak ${soak_sources})
target_compile_definitions(soak PRIVATE _GNU_SOURCE)
target_link_libraries(soak PRIVATE
    integration_support peal_static OpenSSL::SSL ZLIB::ZLIB Threads::Threads)
peal_test(soak soak $<TARGET_FILE:soak> 6)
